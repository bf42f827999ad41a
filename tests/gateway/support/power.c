/* A disk that loses power: preloaded into the gateway, it keeps beside the data folder what would be left of it.

   SHADOW_OF names the folder that is watched, SHADOW the one that has, for each file, what was synced: `names` says which file
   (by inode) has which name, and each file's content is in a file of that number. A write counts once its file is synced, and a
   name once the folder is. What a sync that fails should have written never counts, unless it is written again: Linux does the
   same. What a killed process has left unsynced does not count either, though the next one can read it.

   `fail` in SHADOW makes calls fail: KIND NAME NTH TIMES, where KIND is sync, write or name, and NAME a file's or `*`. It is taken
   and removed by the next call. `calls` in SHADOW has a line for each call.

   While `hold` in SHADOW exists, syncs of the file that it names (`*`: any) wait; `calls` says so. `slow` in SHADOW has the
   milliseconds that each sync takes.

   The index in shared memory (-shm) is nobody's business: it is never synced, and means nothing after a crash. */

#define _GNU_SOURCE
#pragma GCC diagnostic ignored "-Wformat-truncation"
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct change {
    struct change *next;
    ino_t inode;
    off_t at;
    ssize_t length; /* -1: cut to `at` */
    char bytes[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct change *first, **last = &first;
static char folder[PATH_MAX], shadow[PATH_MAX];
static char fail_kind[16], fail_name[64];
static long fail_nth, fail_times;

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_ftruncate)(int, off_t);
static int (*real_rename)(const char *, const char *);
static int (*real_unlink)(const char *);

static void in_shadow(char *path, const char *name) { snprintf(path, PATH_MAX, "%s/%s", shadow, name); }

static void content_of(char *path, ino_t inode) {
    char name[32];
    snprintf(name, sizeof name, "%lu", (unsigned long)inode);
    in_shadow(path, name);
}

/* What the shadow lacks would look like a loss of the gateway's. */
static void must(int good) {
    if (good) return;
    perror("the shadow of the data folder");
    abort();
}

/* The names of the folder, as they are now. */
static void keep_names(void) {
    char path[PATH_MAX], whole[PATH_MAX];
    DIR *dir = opendir(folder);
    in_shadow(path, "names.new");
    FILE *names = fopen(path, "w");
    struct dirent *entry;
    struct stat found;
    while (dir && names && (entry = readdir(dir))) {
        snprintf(whole, sizeof whole, "%s/%s", folder, entry->d_name);
        if (!stat(whole, &found) && S_ISREG(found.st_mode) && !strstr(entry->d_name, "-shm"))
            fprintf(names, "%lu %s\n", (unsigned long)found.st_ino, entry->d_name);
    }
    if (dir) closedir(dir);
    if (names) must(!fclose(names));
    in_shadow(whole, "names");
    must(names && !real_rename(path, whole));
}

__attribute__((constructor)) static void begin(void) {
    real_open = dlsym(RTLD_NEXT, "open64");
    real_openat = dlsym(RTLD_NEXT, "openat64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_rename = dlsym(RTLD_NEXT, "rename");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    const char *of = getenv("SHADOW_OF"), *to = getenv("SHADOW");
    if (of && to) {
        snprintf(folder, sizeof folder, "%s", of);
        snprintf(shadow, sizeof shadow, "%s", to);
    }
}

/* The name of a file in the folder: empty for the folder itself, null for all that is elsewhere. */
static const char *name_of_path(const char *path) {
    size_t length = strlen(folder);
    if (!length || strncmp(path, folder, length)) return NULL;
    if (!path[length]) return "";
    const char *name = path + length + 1;
    if (path[length] != '/' || strchr(name, '/') || strstr(name, "-shm") || strstr(name, " (deleted)")) return NULL;
    return name;
}

static const char *name_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return name_of_path(path);
}

static void note(const char *kind, const char *name, const char *what) {
    char path[PATH_MAX];
    in_shadow(path, "calls");
    FILE *calls = fopen(path, "a");
    if (!calls) return;
    fprintf(calls, "%s %s%s\n", kind, *name ? name : ".", what);
    fclose(calls);
}

/* Whether this call is to fail. */
static int fails(const char *kind, const char *name) {
    char path[PATH_MAX];
    in_shadow(path, "fail");
    FILE *file = fopen(path, "r");
    if (file) {
        if (fscanf(file, "%15s %63s %ld %ld", fail_kind, fail_name, &fail_nth, &fail_times) == 4) real_unlink(path);
        fclose(file);
    }
    int matches = !strcmp(kind, fail_kind) && (!strcmp(fail_name, "*") || !strcmp(fail_name, name));
    int failed = matches && --fail_nth <= 0 && fail_nth > -fail_times;
    note(kind, name, failed ? " failed" : "");
    return failed;
}

static void remember(ino_t inode, const void *bytes, ssize_t length, off_t at) {
    struct change *change = malloc(sizeof *change + (length > 0 ? length : 0));
    *change = (struct change){.inode = inode, .at = at, .length = length};
    if (length > 0) memcpy(change->bytes, bytes, length);
    *last = change;
    last = &change->next;
}

/* Takes out what waits for a file, and makes it last or not. */
static void settle(ino_t inode, int lasts) {
    char path[PATH_MAX];
    content_of(path, inode);
    int fd = lasts ? real_open(path, O_WRONLY | O_CREAT, 0600) : -1;
    must(!lasts || fd >= 0);
    for (struct change **at = &first; *at;) {
        struct change *change = *at;
        if (change->inode != inode) {
            at = &change->next;
            continue;
        }
        if (lasts && change->length < 0) must(!real_ftruncate(fd, change->at));
        if (lasts && change->length > 0) must(real_pwrite(fd, change->bytes, change->length, change->at) == change->length);
        *at = change->next;
        free(change);
    }
    for (last = &first; *last;) last = &(*last)->next;
    if (fd >= 0) close(fd);
}

/* Waits without the lock, so that all other calls go on. */
static void held(const char *name) {
    char path[PATH_MAX], of[64];
    long ms = 0;
    in_shadow(path, "slow");
    FILE *slow = fopen(path, "r");
    if (slow && fscanf(slow, "%ld", &ms) == 1) usleep(1000 * ms);
    if (slow) fclose(slow);
    in_shadow(path, "hold");
    for (int told = 0;; told = 1) {
        FILE *file = fopen(path, "r");
        if (!file) return;
        int matches = fscanf(file, "%63s", of) == 1 && (!strcmp(of, "*") || !strcmp(of, name));
        fclose(file);
        if (!matches) return;
        if (!told) note("sync", name, " waits");
        usleep(2000);
    }
}

static int synced(int fd) {
    char path[PATH_MAX];
    struct stat found;
    const char *name = name_of(fd, path);
    if (!name || fstat(fd, &found)) return 0;
    held(name);
    pthread_mutex_lock(&lock);
    int failed = fails("sync", name);
    if (!*name && !failed) keep_names();
    if (*name) settle(found.st_ino, !failed);
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    return failed ? -1 : 0;
}

int fsync(int fd) { return synced(fd); }
int fdatasync(int fd) { return synced(fd); }

static ssize_t written(int fd, const void *bytes, size_t length, off_t at, int here) {
    char path[PATH_MAX];
    struct stat found;
    const char *name = name_of(fd, path);
    if (!name || !*name || fstat(fd, &found)) return here ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    int failed = fails("write", name);
    if (here) at = lseek(fd, 0, SEEK_CUR);
    ssize_t done = failed ? -1 : here ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, at);
    if (done > 0) remember(found.st_ino, bytes, done, at);
    pthread_mutex_unlock(&lock);
    if (failed) errno = ENOSPC;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return written(fd, bytes, length, 0, 1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return written(fd, bytes, length, at, 0); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return written(fd, bytes, length, at, 0); }

static int cut(int fd, off_t length) {
    char path[PATH_MAX];
    struct stat found;
    const char *name = name_of(fd, path);
    if (!name || !*name || fstat(fd, &found)) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    int failed = fails("write", name);
    int done = failed ? -1 : real_ftruncate(fd, length);
    if (!done) remember(found.st_ino, NULL, -1, length);
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    return done;
}

int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

/* A new file has nothing of the one that had its inode before. */
static int opened(int at, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    struct stat found;
    int is_new = (flags & O_CREAT) && fstatat(at, path, &found, 0);
    int fd = real_openat(at, path, flags, mode);
    const char *name = fd >= 0 && (is_new || (flags & O_TRUNC)) ? name_of(fd, whole) : NULL;
    if (name && *name && !fstat(fd, &found)) {
        pthread_mutex_lock(&lock);
        if (is_new) {
            settle(found.st_ino, 0);
            content_of(whole, found.st_ino);
            real_unlink(whole);
        } else {
            remember(found.st_ino, NULL, -1, 0);
        }
        pthread_mutex_unlock(&lock);
    }
    return fd;
}

#define MODE                                       \
    mode_t mode = 0;                               \
    if (flags & (O_CREAT | O_TMPFILE)) {           \
        va_list rest;                              \
        va_start(rest, flags);                     \
        mode = va_arg(rest, mode_t);               \
        va_end(rest);                              \
    }

int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }

static int named(const char *path) {
    char real[PATH_MAX];
    const char *name = realpath(path, real) ? name_of_path(real) : NULL;
    if (!name || !*name) return 0;
    pthread_mutex_lock(&lock);
    int failed = fails("name", name);
    pthread_mutex_unlock(&lock);
    if (failed) errno = EIO;
    return failed;
}

int rename(const char *from, const char *to) { return named(from) ? -1 : real_rename(from, to); }
int unlink(const char *path) { return named(path) ? -1 : real_unlink(path); }
