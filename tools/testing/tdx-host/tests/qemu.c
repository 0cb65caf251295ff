// SPDX-License-Identifier: GPL-2.0-only
/*
 * qemu CASE... -- QEMU ARG...: run a TD with the command QEMU, which gets "-qmp stdio"
 * in addition, for each CASE, and see how it ends:
 *
 *	run		it gets to run its vCPU, and quits if it is told to
 *	reset		it gets to run a second TD when it is reset
 *	terminate	the same, with KVM_TDX_TERMINATE_VM before it is reset
 *	dead		the same, after KVM has given the TD up because of its guest
 *	quit		QMP's quit with KVM_TDX_TERMINATE_VM
 *	term, kill	SIGTERM, SIGKILL
 *
 * Afterwards, the emulated host must have no TD left. Of what KVM did in order to take
 * the memory back there are counts.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

#define PRELOAD		"/terminate_vm.so"
#define TIMEOUT		100	/* seconds of the emulated host, which is slow */

#define EPT_VIOLATION	48
#define EXIT_QUAL_PENDING 6	/* RDX: the page has not been accepted */

/* SEAMCALL leaves. */
#define VP_ENTER	0
#define RANGE_BLOCK	7
#define PAGE_RECLAIM	28

struct qemu {
	pid_t pid;
	int to, from;
	char buffer[65536];
	size_t length;
};

static unsigned long host_read(unsigned int what)
{
	return command(TDX_HOST_READ, what, 0, 0);
}

static unsigned long leaf(unsigned int number)
{
	return host_read(TDX_HOST_SEAMCALL_LEAF + number);
}

static time_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

static void start(struct qemu *q, char **argv, int preload)
{
	int to[2], from[2];

	fflush(stdout);
	if (pipe(to) || pipe(from))
		err(1, "pipe");
	q->length = 0;
	q->pid = fork();
	if (q->pid < 0)
		err(1, "fork");
	if (!q->pid) {
		dup2(to[0], 0);
		dup2(from[1], 1);
		close(to[1]);
		close(from[0]);
		if (preload)
			setenv("LD_PRELOAD", PRELOAD, 1);
		execv(argv[0], argv);
		err(127, "%s", argv[0]);
	}
	close(to[0]);
	close(from[1]);
	q->to = to[1];
	q->from = from[0];
}

/* Wait for what QMP says; what it has said before counts, too. */
static int wait_for(struct qemu *q, const char *text)
{
	time_t end = now() + TIMEOUT;
	struct pollfd fd = { .fd = q->from, .events = POLLIN };
	ssize_t n;

	for (;;) {
		q->buffer[q->length] = 0;
		if (strstr(q->buffer, text))
			return 1;
		if (q->length == sizeof(q->buffer) - 1 || now() > end ||
		    poll(&fd, 1, (end - now() + 1) * 1000) <= 0)
			break;
		n = read(q->from, q->buffer + q->length,
			 sizeof(q->buffer) - 1 - q->length);
		if (n <= 0)
			break;
		q->length += n;
	}
	printf("# QMP doesn't say %s, but: %s\n", text, q->buffer);
	return 0;
}

/* Tell QMP; the answer, and what happens then, is yet to come. */
static int tell(struct qemu *q, const char *name)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "{\"execute\": \"%s\"}\n", name);

	q->length = 0;
	return write(q->to, line, n) == n;
}

/* The vCPU enters the TD again and again. */
static int is_running(void)
{
	unsigned long before = leaf(VP_ENTER);
	time_t end = now() + TIMEOUT;

	while (leaf(VP_ENTER) < before + 3) {
		if (now() > end) {
			printf("# no vCPU enters a TD\n");
			return 0;
		}
		usleep(10000);
	}
	return 1;
}

static int status_of(struct qemu *q)
{
	time_t end = now() + TIMEOUT;
	int status;

	while (waitpid(q->pid, &status, WNOHANG) == 0) {
		if (now() > end) {
			printf("# QEMU doesn't end\n");
			kill(q->pid, SIGKILL);
			waitpid(q->pid, &status, 0);
			return -1;
		}
		usleep(10000);
	}
	close(q->to);
	close(q->from);
	return status;
}

static int is_gone(void)
{
	time_t end = now() + 20;

	while (host_read(TDX_HOST_TDS) && now() < end)
		usleep(10000);
	if (!host_read(TDX_HOST_TDS) && !host_read(TDX_HOST_TD_PAGES) &&
	    !host_read(TDX_HOST_KEYIDS_IN_USE))
		return 1;
	printf("# %lu TDs, %lu pages and %lu KeyIDs are left\n", host_read(TDX_HOST_TDS),
	       host_read(TDX_HOST_TD_PAGES), host_read(TDX_HOST_KEYIDS_IN_USE));
	return 0;
}

/* Print the counts since the last call; is the memory back by one SEAMCALL a page? */
static int is_fast(unsigned long pages)
{
	unsigned long block = leaf(RANGE_BLOCK), reclaim = leaf(PAGE_RECLAIM);

	printf("# %lu private pages: TDH.MEM.RANGE.BLOCK %lu, TDH.PHYMEM.PAGE.RECLAIM %lu\n",
	       pages, block, reclaim);
	return !block && reclaim >= pages;
}

static int ends_with(struct qemu *q, int signal)
{
	int status = status_of(q);

	if (signal ? WIFSIGNALED(status) && WTERMSIG(status) == signal :
		     WIFEXITED(status) && !WEXITSTATUS(status))
		return 1;
	printf("# QEMU's status is %#x\n", status);
	return 0;
}

/* Each vCPU accesses a page that it has not accepted, as soon as it enters the TD. */
static void script_unaccepted(void)
{
	command(TDX_HOST_SCRIPT_GPR, 0, EPT_VIOLATION, 0);
	command(TDX_HOST_SCRIPT_GPR, 1, 0, 0);
	command(TDX_HOST_SCRIPT_GPR, 2, EXIT_QUAL_PENDING, 0);
	command(TDX_HOST_SCRIPT_GPR, 8, 0, 0);
	command(TDX_HOST_SCRIPT_GPR, 9, 0, 0);
	command(TDX_HOST_SCRIPT, TDX_HOST_SCRIPT_EXIT, 0, 0);
}

static int run_case(const char *name, char **argv)
{
	int dead = !strcmp(name, "dead");
	int terminate = dead || !strcmp(name, "terminate") || !strcmp(name, "quit");
	int reset = dead || !strcmp(name, "terminate") || !strcmp(name, "reset");
	unsigned long pages;
	struct qemu q;
	int ok = 1;

	command(TDX_HOST_SCRIPT, TDX_HOST_SCRIPT_STAY, 0, 0);
	command(TDX_HOST_RESET, 0, 0, 0);
	start(&q, argv, terminate);
	ok = wait_for(&q, "\"QMP\"") && tell(&q, "qmp_capabilities") &&
	     wait_for(&q, "return") && is_running();
	pages = host_read(TDX_HOST_TD_PRIVATE_PAGES);
	command(TDX_HOST_RESET, 0, 0, 0);

	if (dead && ok) {
		q.length = 0;
		script_unaccepted();
		ok = wait_for(&q, "\"STOP\"");
		command(TDX_HOST_SCRIPT, TDX_HOST_SCRIPT_STAY, 0, 0);
	}
	if (reset) {
		ok = ok && tell(&q, "system_reset") && wait_for(&q, "\"RESET\"");
		/* QEMU has paused the VM that died. */
		ok = ok && (!dead || (tell(&q, "cont") && wait_for(&q, "return"))) && is_running();
		ok = ok && tell(&q, "query-status") && wait_for(&q, "\"running\"");
		/* The first TD is no more, the second one has as many pages. */
		if (ok && (host_read(TDX_HOST_TDS) != 1 ||
			   host_read(TDX_HOST_TD_PRIVATE_PAGES) != pages)) {
			printf("# %lu TDs with %lu private pages\n", host_read(TDX_HOST_TDS),
			       host_read(TDX_HOST_TD_PRIVATE_PAGES));
			ok = 0;
		}
		ok = is_fast(pages) == terminate && ok;
	}

	if (!ok || !strcmp(name, "kill")) {
		kill(q.pid, SIGKILL);
		ok = ends_with(&q, SIGKILL) && ok;
	} else if (!strcmp(name, "term")) {
		kill(q.pid, SIGTERM);
		ok = ends_with(&q, 0);
	} else {
		ok = tell(&q, "quit") && ends_with(&q, 0);
	}
	ok = is_gone() && ok;
	/* KVM releases the HKID of a VMM that exits, however it does. */
	if (!reset)
		ok = is_fast(pages) && ok;
	return ok;
}

int main(int argc, char *argv[])
{
	int i, cases, args, failed = 0;
	char *qemu[argc + 3];

	need_host();
	signal(SIGPIPE, SIG_IGN);
	for (cases = 1; cases < argc && strcmp(argv[cases], "--"); cases++)
		;
	if (cases == 1 || cases + 1 >= argc)
		errx(2, "usage: qemu CASE... -- QEMU ARG...");
	for (args = 0, i = cases + 1; i < argc; i++)
		qemu[args++] = argv[i];
	qemu[args++] = "-qmp";
	qemu[args++] = "stdio";
	qemu[args] = NULL;

	printf("TAP version 13\n1..%d\n", cases - 1);
	for (i = 1; i < cases; i++) {
		int ok = run_case(argv[i], qemu);

		printf("%sok %d %s\n", ok ? "" : "not ", i, argv[i]);
		fflush(stdout);
		failed += !ok;
	}
	return !!failed;
}
