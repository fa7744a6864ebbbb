/* The limit: how fast one C loop on this machine starts `/bin/sh -c COMMAND` and keeps what it printed.
 *
 *   limit COUNT SLOTS FOLDER COMMAND
 *
 * Per run a folder FOLDER/<n> with `stdout` and `stderr` (opened by the child's file actions) and, when the run
 * has ended, `status_code`. SLOTS runs at a time. Nothing else: no session, no environment of its own, no
 * sweeping of what a run left behind, no time-outs, no record. posix_spawn of glibc uses CLONE_VFORK | CLONE_VM, which is
 * the cheapest way to start a process; paths are relative to FOLDER, which spares the walk from the root.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void die(const char *what, int error) {
    fprintf(stderr, "limit: %s: %s\n", what, strerror(error));
    exit(3);
}

static pid_t start(int number, const char *command) {
    char folder[16], out[32], err[32];
    snprintf(folder, sizeof folder, "%d", number);
    snprintf(out, sizeof out, "%d/stdout", number);
    snprintf(err, sizeof err, "%d/stderr", number);
    if (mkdir(folder, 0777) != 0) die(folder, errno);

    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, 1, out, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    posix_spawn_file_actions_addopen(&files, 2, err, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    char *argv[] = {"/bin/sh", "-c", (char *)command, NULL};
    pid_t pid;
    int error = posix_spawn(&pid, "/bin/sh", &files, NULL, argv, environ);
    if (error != 0) die("posix_spawn", error);
    posix_spawn_file_actions_destroy(&files);
    return pid;
}

static void mark(int number, int status) {
    char path[32], text[8];
    int code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    snprintf(path, sizeof path, "%d/status_code", number);
    int length = snprintf(text, sizeof text, "%d", code);
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0 || write(file, text, length) != length || close(file) != 0) die(path, errno);
}

int main(int argc, char **argv) {
    if (argc != 5) die("limit COUNT SLOTS FOLDER COMMAND", EINVAL);
    int count = atoi(argv[1]), slots = atoi(argv[2]), next = 0, live = 0;
    if (chdir(argv[3]) != 0) die(argv[3], errno);
    pid_t *pids = calloc(slots, sizeof *pids);
    int *numbers = calloc(slots, sizeof *numbers);

    while (live < slots && next < count) {
        numbers[live] = next;
        pids[live++] = start(next++, argv[4]);
    }
    while (live > 0) {
        int status, slot = 0;
        pid_t pid = waitpid(-1, &status, 0);
        if (pid < 0) die("waitpid", errno);
        while (pids[slot] != pid) slot++;
        int ended = numbers[slot];
        if (next < count) { /* the slot is filled before the books are kept */
            numbers[slot] = next;
            pids[slot] = start(next++, argv[4]);
        } else {
            live--;
            pids[slot] = pids[live];
            numbers[slot] = numbers[live];
        }
        mark(ended, status);
    }
    return 0;
}
