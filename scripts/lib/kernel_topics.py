# SPDX-License-Identifier: GPL-2.0-only
"""The kernel series by topic: what scripts/topics, series and patches have in common."""

import os
import re
import subprocess
import sys
import tempfile
import tomllib

TOP = os.path.abspath(os.path.join(os.path.dirname(__file__), "../.."))
BUILD = os.environ.get("BUILD", os.path.join(TOP, "build"))
PATCHES = "patches/linux-6.18"
TREE = os.path.join(BUILD, "linux-6.18")
TEST_LIST = "tools/testing/selftests/kvm/Makefile.kvm"


class Conflict(Exception):
    """A patch that does not apply; the message has git's words."""


def die(sentence):
    """The only way to give up on bad input."""
    print("%s: %s" % (os.path.basename(sys.argv[0]), sentence), file=sys.stderr)
    sys.exit(2)


def run_git(directory, *args, env=None, data=None, check=True):
    """Standard output of a git command, without the last newline."""
    run = subprocess.run(["git", "-C", directory, *args], check=False, encoding="utf-8",
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, input=data,
                         env=dict(os.environ, **env) if env else None)
    if run.returncode and check:
        raise Conflict(run.stdout + run.stderr)
    return run.stdout.rstrip("\n")


def make_tree():
    """Bring build/linux-6.18 up to date."""
    status = subprocess.run([os.path.join(TOP, "scripts/lib/tree"), "linux"],
                            stdout=sys.stderr, check=False).returncode
    if status:
        sys.exit(status)


def identity(name, email, date):
    """The environment in which git makes a commit of that author."""
    return {"GIT_%s_%s" % (who, what): value for who in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", email), ("DATE", date))}


class Patch:
    """One line of the series file."""

    def __init__(self, line):
        self.name, *self.files = line.split()
        self.topic, _, self.file = self.name.rpartition("/")


class Queue:
    """The patch queue of a checkout TOP of this repository, and the git tree TREE that
    scripts/lib/tree makes of it."""

    def __init__(self, top=TOP, tree=TREE):
        self.top = top
        self.tree = tree
        self.patches = os.path.join(top, PATCHES)
        with open(os.path.join(self.patches, "series"), encoding="utf-8") as file:
            self.series = [Patch(line) for line in file
                           if line.strip() and not line.startswith("#")]
        self.topics = self._read_topics()
        self._base = None
        self._commits = {}
        # Topics that need the same begin with the same commits.
        self._picked = {}

    def git(self, *args, **kwargs):
        """run_git() in the kernel tree."""
        return run_git(self.tree, *args, **kwargs)

    def of_topic(self, topic):
        """The patches of a topic."""
        return [patch for patch in self.series if patch.topic == topic]

    def _read_topics(self):
        """topics.toml, checked: {topic: {title, needs, ...}}, in the order of the series."""
        with open(os.path.join(self.patches, "topics.toml"), "rb") as file:
            topics = tomllib.load(file)
        order = list(dict.fromkeys(patch.topic for patch in self.series))
        for topic in set(order) ^ topics.keys():
            die("%s is in %s only" % (topic, "series" if topic in order else "topics.toml"))
        for topic in order:
            for need in topics[topic]["needs"]:
                if need not in order[:order.index(topic)]:
                    die("%s needs %s, which does not come before it" % (topic, need))
        return {topic: topics[topic] for topic in order}

    def closure(self, topic):
        """What TOPIC needs, directly or not, in the order of the series."""
        needed = set()
        todo = list(self.topics[topic]["needs"])
        while todo:
            need = todo.pop()
            if need not in needed:
                needed.add(need)
                todo += self.topics[need]["needs"]
        return [name for name in self.topics if name in needed]

    def base(self):
        """The commit below the series."""
        if not self._base:
            self._base = self.git("rev-list", "--max-parents=0", "HEAD")
        return self._base

    def base_name(self):
        """E.g. Linux 6.18.15"""
        return self.git("log", "-1", "--format=%s", self.base())

    def commits(self, topic):
        """The commits that the patches of TOPIC are in the series, oldest first."""
        if not self._commits:
            commits = self.git("rev-list", "--reverse", self.base() + "..HEAD").split()
            if len(commits) != len(self.series):
                die("build/linux-6.18 is not the series; 'make tree' makes it")
            for patch, commit in zip(self.series, commits):
                self._commits.setdefault(patch.topic, []).append(commit)
        return self._commits[topic]

    def branch(self, topic):
        """The base, with the patches of all that TOPIC needs and its own.  Returns
        [(Patch, commit)], oldest first.  Conflict has the patch that does not apply as its
        second argument."""
        tip = self.base()
        result = []
        for name in self.closure(topic) + [topic]:
            for patch, commit in zip(self.of_topic(name), self.commits(name)):
                key = tip, commit
                if key not in self._picked:
                    try:
                        self._picked[key] = self._pick(tip, commit)
                    except Conflict as conflict:
                        raise Conflict(str(conflict), patch.name) from conflict
                tip = self._picked[key]
                result.append((patch, tip))
        return result

    def own(self, topic):
        """The same, only with the patches of TOPIC: the commit below them, [(Patch, commit)]"""
        branch = self.branch(topic)
        count = len(self.of_topic(topic))
        below = branch[-count - 1][1] if len(branch) > count else self.base()
        return below, branch[-count:]

    def _merge(self, ours, theirs, parent, commit):
        """The tree of a merge.  Tests that two topics add to the list at the same place are
        no conflict."""
        command = "-c", "merge.renames=false", "merge-tree", "--write-tree", "--name-only"
        try:
            return self.git(*command, ours, theirs)
        except Conflict as conflict:
            tree, *names = str(conflict).partition("\n\n")[0].splitlines()
            if names != [TEST_LIST]:
                raise
        lines = self.git("show", "%s:%s" % (ours, TEST_LIST)).split("\n")
        old = set(self.git("show", "%s:%s" % (parent, TEST_LIST)).split("\n"))
        above = None
        for line in self.git("show", "%s:%s" % (commit, TEST_LIST)).split("\n"):
            if line not in old:
                lines.insert(lines.index(above) + 1, line)
            if line in lines:
                above = line
        with tempfile.TemporaryDirectory() as scratch:
            index = {"GIT_INDEX_FILE": os.path.join(scratch, "index")}
            blob = self.git("hash-object", "-w", "--stdin", data="\n".join(lines) + "\n")
            self.git("read-tree", tree, env=index)
            self.git("update-index", "--cacheinfo", "100644,%s,%s" % (blob, TEST_LIST),
                     env=index)
            return self.git("write-tree", env=index)

    def _pick(self, tip, commit):
        """Cherry-pick COMMIT onto TIP without a work tree; the new commit."""
        info = self.git("log", "-1", "--format=%T%n%P%n%an%n%ae%n%aI%n%B", commit)
        tree, parent, name, email, date, message = info.split("\n", 5)
        if parent == tip:
            return commit
        # merge-tree wants commits, and finds the merge base on its own.
        below = self.git("commit-tree", parent + "^{tree}", "-m", "base")
        ours = self.git("commit-tree", tip + "^{tree}", "-p", below, "-m", "ours")
        theirs = self.git("commit-tree", tree, "-p", below, "-m", "theirs")
        merged = self._merge(ours, theirs, parent, commit)
        return self.git("commit-tree", merged, "-p", tip, "-m", message,
                        env=identity(name, email, date))


def asked_topics(queue):
    """The topics that TOPIC= names, or all."""
    topics = re.split(r"[\s,]+", os.environ.get("TOPIC", "").strip())
    if topics == [""]:
        return list(queue.topics)
    for topic in topics:
        if topic not in queue.topics:
            die("TOPIC=%s: there is no such topic; scripts/topics lists them" % topic)
    return [topic for topic in queue.topics if topic in topics]
