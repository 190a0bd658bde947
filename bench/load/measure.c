/* Time, histograms, and what the system knows about processes. */
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Log-linear buckets of microseconds, 64 steps per octave: less than 1.6 % of error. */
static int bucket_of(int64_t us) {
    if (us < 0) us = 0;
    if (us < STEPS) return (int)us;
    int shift = 63 - __builtin_clzll((uint64_t)us) - 6;
    int i = (shift + 1) * STEPS + (int)((us >> shift) - STEPS);
    return i < BUCKETS ? i : BUCKETS - 1;
}

static int64_t middle_of(int i) {
    if (i < STEPS) return i;
    int shift = i / STEPS - 1, step = i % STEPS;
    return ((int64_t)(step + STEPS) << shift) + ((1LL << shift) >> 1);
}

void note(struct histogram *h, int64_t us) {
    h->bucket[bucket_of(us)]++;
    h->n++;
    if (us > h->max) h->max = us;
}

double quantile_ms(const struct histogram *h, double q) {
    if (!h->n) return 0;
    uint64_t wanted = (uint64_t)ceil(q * (double)h->n), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += h->bucket[i]) >= wanted) {
            int64_t us = middle_of(i);
            return (double)(us > h->max ? h->max : us) / 1000.0;
        }
    return (double)h->max / 1000.0;
}

/* user, system, and both of reaped children, in seconds; false if there is no such */
static bool times_of(int pid, double t[4]) {
    char path[64], text[2048];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    FILE *f = fopen(path, "r");
    if (!f) return false;
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *name_end = strrchr(text, ')');
    long v[4];
    if (!name_end || sscanf(name_end + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u"
                            " %ld %ld %ld %ld", v, v + 1, v + 2, v + 3) != 4)
        return false;
    for (int i = 0; i < 4; i++) t[i] = (double)v[i] / (double)sysconf(_SC_CLK_TCK);
    return true;
}

/* Of all processes of the server together, and of each of them. */
void server_cpu(double *user, double *system, double *each) {
    *user = *system = 0;
    double t[4];
    for (int i = 0; i < opt.npids; i++) {
        each[i] = 0;
        if (times_of(opt.pids[i], t)) {
            *user += t[0];
            *system += t[1];
            each[i] = t[0] + t[1];
        }
    }
}

/* Of the database server that the server uses. */
double store_cpu(void) {
    double t[4];
    return opt.store_pid && times_of(opt.store_pid, t) ? t[0] + t[1] : 0;
}

double server_rss_kib(void) {
    double sum = 0;
    for (int i = 0; i < opt.npids; i++) {
        char path[64], line[256];
        snprintf(path, sizeof path, "/proc/%d/smaps_rollup", opt.pids[i]);
        FILE *f = fopen(path, "r");
        if (!f) continue;
        double kib;
        while (fgets(line, sizeof line, f))
            if (sscanf(line, "Rss: %lf", &kib) == 1) sum += kib;
        fclose(f);
    }
    return sum;
}

double own_cpu(void) {
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static bool is_ours(int pid) {
    for (int i = 0; i < opt.npids; i++)
        if (pid == opt.pids[i]) return true;
    return pid == getpid() || pid == opt.store_pid;
}

/* The noise: CPU of all processes that are neither the server nor this one. */
double others_cpu(void) {
    double sum = 0, t[4];
    DIR *d = opendir("/proc");
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));) {
        int pid = atoi(e->d_name);
        if (pid > 0 && !is_ours(pid) && times_of(pid, t))
            sum += t[0] + t[1] + t[2] + t[3];
    }
    closedir(d);
    return sum;
}

static double wait_of(int pid) {
    char path[128];
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *d = opendir(path);
    if (!d) return 0;
    for (struct dirent *e; (e = readdir(d));) {
        if (!isdigit((unsigned char)*e->d_name)) continue;
        snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, e->d_name);
        FILE *f = fopen(path, "r");
        unsigned long long ns;
        if (!f) continue;
        if (fscanf(f, "%*u %llu", &ns) == 1) sum += (double)ns / 1e9;
        fclose(f);
    }
    closedir(d);
    return sum;
}

/* Seconds in which the server's threads could have run, and had no CPU. */
double server_wait(void) {
    double sum = 0;
    for (int i = 0; i < opt.npids; i++) sum += wait_of(opt.pids[i]);
    return sum;
}
