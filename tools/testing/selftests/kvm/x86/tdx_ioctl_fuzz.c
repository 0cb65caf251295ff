// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random sequences of ioctls of VMs, vCPUs, guest_memfds and devices, most of
 * them about a TD and some of them nonsense.  Whatever they are told, nothing may
 * be left once the files are closed, and the kernel must neither warn nor hang.
 *
 * A sequence doesn't depend on what its calls return: the seed and its number are
 * all it takes to make it again.  It can be printed, edited and replayed, too.
 */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include <linux/sizes.h>

#include "kselftest.h"
#include "kvm_util.h"
#include "processor.h"
#include "tdx_ioctl_fuzz.h"
#include "tdx_stress.h"
#include "tdx_util.h"

#define SEPARATORS	"\n "
#define MAX_CALLS	2000
#define MAX_THREADS	4
#define KICK_US		2000	/* KVM_RUN may block */
#define MILESTONE_CALLS	10000	/* in which TDs come to everything */
#define CHECK_CALLS	10	/* the model is checked after every tenth */

struct call {
	int thread;
	const struct fuzz_op *op;
	u64 p[FUZZ_MAX_PARAMS];
};

struct sequence {
	struct call calls[MAX_CALLS];
	int nr_calls;
	int nr_threads;
};

static struct options {
	u64 seed;
	u64 calls;
	u64 first;
	u64 length;
	u64 threads;
	u64 timeout;
	const char *replay;
	const char *output;
	bool print;
} options = {
	.calls = 5000,
	.length = 120,
	.threads = 1,
	.timeout = 60,
};

static bool model;

/* How far the process that plays a sequence has come. */
static struct progress {
	u64 calls;			/* in all sequences */
	int at[MAX_THREADS];		/* call that each thread makes */
} *progress;

static void generate(struct sequence *seq, u64 index)
{
	struct tdx_rng rng = tdx_rng_init(options.seed, index);
	const struct fuzz_op *op;
	struct call *call;
	int i, j;

	memset(seq, 0, sizeof(*seq));
	seq->nr_threads = options.threads;
	/* How a TD comes about, most of the time. */
	for (i = 0; (op = fuzz_prologue(i, seq->calls[seq->nr_calls].p)); i++) {
		if (tdx_rand_percent(&rng, 96))
			seq->calls[seq->nr_calls++].op = op;
	}
	while (seq->nr_calls < options.length) {
		call = &seq->calls[seq->nr_calls++];
		call->op = fuzz_random_op(&rng);
		call->thread = tdx_rand_below(&rng, options.threads);
		for (j = 0; j < call->op->nr_params; j++)
			call->p[j] = fuzz_random_param(&rng, call->op->params[j]);
	}
}

static void print_sequence(FILE *f, const struct sequence *seq)
{
	const struct call *call;
	int i, j;

	for (i = 0; i < seq->nr_calls; i++) {
		call = &seq->calls[i];
		fprintf(f, "call %d %s", call->thread, call->op->name);
		for (j = 0; j < call->op->nr_params; j++)
			fprintf(f, " 0x%lx", call->p[j]);
		fprintf(f, "\n");
	}
	fflush(f);
}

static void read_sequence(struct sequence *seq, const char *path)
{
	FILE *f = fopen(path, "r");
	char line[512], *word;
	struct call *call;
	int j;

	if (!f)
		ksft_exit_fail_msg("%s: %s\n", path, strerror(errno));
	memset(seq, 0, sizeof(*seq));
	while (fgets(line, sizeof(line), f) && seq->nr_calls < MAX_CALLS) {
		word = strtok(line, SEPARATORS);
		if (!word || strcmp(word, "call"))
			continue;
		call = &seq->calls[seq->nr_calls++];
		word = strtok(NULL, SEPARATORS);
		call->thread = word ? atoi(word) % MAX_THREADS : 0;
		seq->nr_threads = max(seq->nr_threads, call->thread + 1);
		word = strtok(NULL, SEPARATORS);
		call->op = fuzz_find_op(word ?: "");
		if (!call->op)
			ksft_exit_fail_msg("%s: call %d: no operation '%s'\n",
					   path, seq->nr_calls, word ?: "");
		for (j = 0; j < call->op->nr_params; j++) {
			word = strtok(NULL, SEPARATORS);
			call->p[j] = word ? strtoull(word, NULL, 0) : 0;
		}
	}
	fclose(f);
}

struct player {
	const struct sequence *seq;
	int thread;
	pthread_t id;
	bool done;
};

static void *play_thread(void *arg)
{
	struct player *player = arg;
	const struct call *call;
	int i;

	fuzz_thread_init();
	for (i = 0; i < player->seq->nr_calls; i++) {
		call = &player->seq->calls[i];
		if (call->thread != player->thread)
			continue;
		WRITE_ONCE(progress->at[player->thread], i);
		call->op->fn(call->p);
		__atomic_add_fetch(&progress->calls, 1, __ATOMIC_RELAXED);
		if (model && !(i % CHECK_CALLS))
			TEST_ASSERT(tdx_host_check(),
				    "The model of the TDX module contradicts itself");
	}
	WRITE_ONCE(progress->at[player->thread], i);
	WRITE_ONCE(player->done, true);
	return NULL;
}

static void ignore_signal(int signal)
{
}

static void play(const struct sequence *seq)
{
	const struct sigaction kick = { .sa_handler = ignore_signal };
	struct tdx_patience patience[MAX_THREADS] = {};
	struct player players[MAX_THREADS];
	int i, r, left;

	sigaction(SIGUSR1, &kick, NULL);
	for (i = 0; i < seq->nr_threads; i++) {
		players[i] = (struct player) { .seq = seq, .thread = i };
		r = pthread_create(&players[i].id, NULL, play_thread, &players[i]);
		TEST_ASSERT(!r, "pthread_create() failed: %s", strerror(r));
	}
	do {
		usleep(KICK_US);
		for (i = left = 0; i < seq->nr_threads; i++) {
			if (READ_ONCE(players[i].done))
				continue;
			left++;
			if (tdx_patience_is_over(&patience[i], READ_ONCE(progress->at[i])))
				pthread_kill(players[i].id, SIGUSR1);
		}
	} while (left);
	_exit(0);
}

/* Returns what went wrong, or NULL. */
static const char *run_sequence(const struct sequence *seq,
				const struct tdx_baseline *baseline)
{
	struct timespec start;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	TEST_ASSERT(pid >= 0, __KVM_SYSCALL_ERROR("fork()", pid));
	if (!pid)
		play(seq);

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (!waitpid(pid, &status, WNOHANG)) {
		if (timespec_elapsed(start).tv_sec >= options.timeout) {
			kill(pid, SIGKILL);
			return "hang";
		}
		usleep(500);
	}
	if (status)
		return "the process failed";
	if (!tdx_baseline_check(baseline))
		return "the host isn't as it was before";
	return NULL;
}

static void fail_sequence(const struct sequence *seq, u64 index,
			  const char *what)
{
	FILE *f;
	int i;

	printf("# %s, after %lu calls in all\n", what, progress->calls);
	for (i = 0; i < seq->nr_threads; i++) {
		if (progress->at[i] < seq->nr_calls)
			printf("# thread %d was in call %d, %s\n", i,
			       progress->at[i], seq->calls[progress->at[i]].op->name);
	}
	if (options.replay)
		ksft_exit_fail_msg("%s: %s\n", options.replay, what);
	print_sequence(stdout, seq);
	if (options.output) {
		f = fopen(options.output, "w");
		TEST_ASSERT(f, "Can't write %s", options.output);
		print_sequence(f, seq);
		fclose(f);
	}
	printf("# to repeat: --seed %lu --first %lu --length %lu --threads %lu --calls 1, or\n"
	       "# --replay a file with the lines above\n",
	       options.seed, index, options.length, options.threads);
	ksft_exit_fail_msg("Sequence %lu: %s\n", index, what);
}

/* What TDs that live come to, if there are enough of them. */
static const enum tdh_leaf milestones[] = {
	TDH_MNG_INIT, TDH_VP_INIT, TDH_MEM_PAGE_ADD, TDH_MR_FINALIZE, TDH_MEM_PAGE_AUG,
	TDH_VP_ENTER, TDH_MEM_PAGE_REMOVE, TDH_MNG_KEY_FREEID, TDH_PHYMEM_PAGE_RECLAIM,
};

static u64 nr_successes(enum tdh_leaf leaf)
{
	return tdx_host_read(TDX_HOST_SEAMCALL_LEAF + leaf) -
	       tdx_host_read(TDX_HOST_SEAMCALL_ERRORS + leaf);
}

/* Calls that all fail early show nothing. */
static void check_milestones(const u64 *before)
{
	u64 reached;
	int i;

	for (i = 0; i < ARRAY_SIZE(milestones); i++) {
		reached = nr_successes(milestones[i]) - before[i];
		printf("# %s: %lu\n", tdh_leaf_name(milestones[i]), reached);
		if (!reached && progress->calls >= MILESTONE_CALLS)
			ksft_exit_fail_msg("No TD got as far as %s\n",
					   tdh_leaf_name(milestones[i]));
	}
}

static void print_usage(const char *name)
{
	printf("usage: %s [OPTION...]\n\n"
	       "Random ioctls on TDs.\n\n"
	       " --calls N      so many at least (default 5000)\n"
	       " --seed N       (default: from the clock)\n"
	       " --first N      begin with this sequence\n"
	       " --length N     calls of a sequence (default 120)\n"
	       " --threads N    that make these calls (default 1)\n"
	       " --timeout N    a sequence must take no longer, in seconds (default 60)\n"
	       " --print        print the first sequence, don't run any\n"
	       " --output FILE  write a sequence that fails there, besides printing it\n"
	       " --replay FILE  run the sequence that is in this file\n", name);
}

static void parse_options(int argc, char *argv[])
{
	static const struct option long_options[] = {
		{ "calls", required_argument, NULL, 'c' },
		{ "seed", required_argument, NULL, 's' },
		{ "first", required_argument, NULL, 'f' },
		{ "length", required_argument, NULL, 'l' },
		{ "threads", required_argument, NULL, 't' },
		{ "timeout", required_argument, NULL, 'w' },
		{ "print", no_argument, NULL, 'p' },
		{ "output", required_argument, NULL, 'o' },
		{ "replay", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{}
	};
	int opt;

	options.seed = time(NULL) % 1000000;
	while ((opt = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			options.calls = tdx_parse_number("calls", optarg, 1, UINT32_MAX);
			break;
		case 's':
			options.seed = tdx_parse_number("seed", optarg, 0, UINT64_MAX);
			break;
		case 'f':
			options.first = tdx_parse_number("first", optarg, 0, UINT32_MAX);
			break;
		case 'l':
			options.length = tdx_parse_number("length", optarg, 1, MAX_CALLS);
			break;
		case 't':
			options.threads = tdx_parse_number("threads", optarg, 1, MAX_THREADS);
			break;
		case 'w':
			options.timeout = tdx_parse_number("timeout", optarg, 1, 86400);
			break;
		case 'p':
			options.print = true;
			break;
		case 'o':
			options.output = optarg;
			break;
		case 'r':
			options.replay = optarg;
			break;
		case 'h':
			print_usage(argv[0]);
			exit(KSFT_PASS);
		default:
			exit(KSFT_FAIL);
		}
	}
}

int main(int argc, char *argv[])
{
	static struct sequence seq;
	u64 index, before[ARRAY_SIZE(milestones)];
	struct tdx_baseline baseline;
	const char *what;
	int i;

	parse_options(argc, argv);
	if (options.print) {
		generate(&seq, options.first);
		print_sequence(stdout, &seq);
		return KSFT_PASS;
	}

	ksft_print_header();
	tdx_require();
	ksft_set_plan(1);
	fuzz_init();
	progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	TEST_ASSERT(progress != MAP_FAILED, "mmap() failed");
	tdx_baseline_init(&baseline);
	model = tdx_host_is_model();
	for (i = 0; model && i < ARRAY_SIZE(milestones); i++)
		before[i] = nr_successes(milestones[i]);
	printf("# seed %lu\n", options.seed);

	for (index = options.first; progress->calls < options.calls; index++) {
		if (options.replay)
			read_sequence(&seq, options.replay);
		else
			generate(&seq, index);
		what = run_sequence(&seq, &baseline);
		if (what)
			fail_sequence(&seq, index, what);
		if (options.replay)
			break;
		/* Should the kernel take the host down: it was after this one. */
		if (index % 10 == 9)
			printf("# sequence %lu, %lu calls\n", index, progress->calls);
	}

	printf("# %lu calls\n", progress->calls);
	if (model && !options.replay)
		check_milestones(before);
	ksft_test_result_pass("%lu sequences of calls leave nothing behind\n",
			      index - options.first + !!options.replay);
	ksft_finished();
}
