/* What was measured: JSON lines for programs, and a line each for people. */
#include "load.h"

void snapshot(struct snapshot *s) {
    server_cpu(&s->user, &s->system, s->each);
    s->store = store_cpu();
    s->own = own_cpu();
    s->wait = server_wait();
    s->others = others_cpu();
    s->count = count;
    s->at = now_ns();
}

double cpu_between(const struct snapshot *a, const struct snapshot *b) {
    return b->user - a->user + b->system - a->system;
}

static double seconds(const struct snapshot *a, const struct snapshot *b) {
    return (double)(b->at - a->at) / 1e9;
}

static double each_us(double cpu, uint64_t n) { return n ? cpu * 1e6 / (double)n : 0; }

static void begin(const char *phase) {
    fprintf(opt.out, "{\"label\":\"%s\",\"scenario\":\"%s\",\"phase\":\"%s\","
            "\"clients\":%d,\"up\":%d,\"failed\":%d", opt.label, opt.scenario, phase,
            nclients, nup, ndead);
}

static void put(const char *name, double value, int decimals) {
    fprintf(opt.out, ",\"%s\":%.*f", name, decimals, value);
}

static void put_count(const char *name, uint64_t n) { put(name, (double)n, 0); }

static void end(void) {
    fputs("}\n", opt.out);
    fflush(opt.out);
}

/* That something was done which is not measured. */
void report_phase(const char *phase) {
    begin(phase);
    end();
}

/* How much of the machine the server, this program and all others had. */
static void put_machine(const struct snapshot *a, const struct snapshot *b) {
    double percent = 100 / seconds(a, b), cpu = cpu_between(a, b);
    put("seconds", seconds(a, b), 3);
    put("cpu_s", cpu, 3);
    put("cpu_pct", percent * cpu, 2);
    put("system_pct", percent * (b->system - a->system), 2);
    put("loadgen_cpu_pct", percent * (b->own - a->own), 1);
    put("other_cpu_pct", percent * (b->others - a->others), 1);
    put("server_wait_pct", percent * (b->wait - a->wait), 1);
    fputs(",\"each_cpu_pct\":[", opt.out);
    for (int i = 0; i < opt.npids; i++)
        fprintf(opt.out, "%s%.2f", i ? "," : "", percent * (b->each[i] - a->each[i]));
    fputc(']', opt.out);
    if (opt.store_pid) put("store_cpu_pct", percent * (b->store - a->store), 2);
}

static void put_times(const char *name, const struct histogram *h) {
    static const struct { const char *name; double q; } at[] = {
        {"p50", .5}, {"p90", .9}, {"p99", .99}};
    for (int i = 0; i < 3; i++) {
        char full[40];
        snprintf(full, sizeof full, "%s_%s_ms", name, at[i].name);
        put(full, quantile_ms(h, at[i].q), 3);
    }
}

/* A window of steady load; `wanted` deliveries should have come of it, and the server
   has kept up with it if nothing was wrong or later than --p99-limit allows. */
void report_steady(const struct snapshot *a, const struct snapshot *b, double rate,
                   double wanted, bool kept_up) {
    const struct counters *x = &a->count, *y = &b->count;
    double cpu = cpu_between(a, b);
    uint64_t delivered = y->delivered - x->delivered, acked = y->acked - x->acked;
    uint64_t exchanges = y->exchanges - x->exchanges;
    begin("steady");
    put("rate", rate, 0);
    put_machine(a, b);
    put_count("delivered", delivered);
    put_count("acked", acked);
    put_count("exchanges", exchanges);
    put_count("polls", y->polls - x->polls);
    put_count("empty_polls", y->empty_polls - x->empty_polls);
    put("us_per_delivery", each_us(cpu, delivered), 2);
    if (opt.store_pid)
        put("store_us_per_delivery", each_us(b->store - a->store, delivered), 2);
    put("us_per_publish", each_us(cpu, acked), 2);
    put("us_per_exchange", each_us(cpu, exchanges), 2);
    put("arrived_pct", wanted > 0 ? 100 * (double)latency->n / wanted : 100, 2);
    put_times("latency", latency);
    put_times("answer", answer_time);
    put_times("lateness", lateness);
    put_count("reopened", y->reopened - x->reopened);
    put_count("errors", errors_between(x, y));
    if (opt.p99_limit_ms) put_count("kept_up", kept_up);
    end();
    fprintf(stderr, "%-14s %-8s N=%d %.0f/s: %.1f us/delivery, %.1f us/exchange, p99 "
            "%.2f ms, CPU %.0f%%, load generator %.0f%%, others %.0f%%, errors %lu\n",
            opt.label, opt.scenario, nup, rate, each_us(cpu, delivered),
            each_us(cpu, exchanges), quantile_ms(latency, .99),
            100 * cpu / seconds(a, b), 100 * (b->own - a->own) / seconds(a, b),
            100 * (b->others - a->others) / seconds(a, b),
            (unsigned long)errors_between(x, y));
}

void report_setup(const struct snapshot *a, const struct snapshot *b) {
    double cpu = cpu_between(a, b);
    begin("setup");
    put_machine(a, b);
    put("us_per_session", each_us(cpu, (uint64_t)nup), 2);
    put("sessions_per_s", nup / seconds(a, b), 1);
    put_count("errors", errors_between(&a->count, &b->count));
    end();
    fprintf(stderr, "%-14s %-8s set-up: %d up, %d failed, %.0f/s, %.0f us each\n",
            opt.label, opt.scenario, nup, ndead, nup / seconds(a, b),
            each_us(cpu, (uint64_t)nup));
}

void report_memory(double before, double after_setup, double at_end) {
    begin("memory");
    put("rss_before_kib", before, 0);
    put("rss_end_kib", at_end, 0);
    put("kib_per_session_up", (after_setup - before) / nclients, 2);
    put("kib_per_session", (at_end - before) / nclients, 2);
    end();
    fprintf(stderr, "%-14s %-8s memory: %.0f -> %.0f MiB, %.2f KiB per session\n",
            opt.label, opt.scenario, before / 1024, at_end / 1024,
            (at_end - before) / nclients);
}

/* Customers who came back, each having missed so many entries. */
void report_returns(const struct snapshot *a, const struct snapshot *b, int missed,
                    int returns) {
    double us = each_us(cpu_between(a, b), (uint64_t)returns);
    begin("returns");
    put_machine(a, b);
    put("missed", missed, 0);
    put("returns", returns, 0);
    put("us_per_return", us, 1);
    put_count("delivered", b->count.delivered - a->count.delivered);
    put_count("errors", errors_between(&a->count, &b->count));
    end();
    fprintf(stderr, "%-14s %-8s %d returns after %d missed entries: %.0f us each\n",
            opt.label, opt.scenario, returns, missed, us);
}

void report_check(struct verdict v) {
    static const struct counters none;
    uint64_t errors = errors_between(&none, &count);
    begin("check");
    put_count("published", count.published);
    put_count("acked", count.acked);
    put_count("unanswered", v.unanswered);
    put_count("expected", v.expected);
    put_count("delivered", count.delivered);
    put_count("lost", v.lost);
    put_count("duplicates", count.duplicates);
    put_count("reordered", count.reordered);
    put_count("overtaken", count.overtaken);
    put_count("foreign", count.foreign);
    put_count("corrupt", count.corrupt);
    put_count("misplaced", count.misplaced);
    put_count("absences", count.absences);
    put_count("errors", errors);
    end();
    fprintf(stderr, "%-14s %-8s check: %lu delivered of %lu, %lu lost, %lu twice, "
            "%lu misplaced, errors %lu\n", opt.label, opt.scenario,
            (unsigned long)count.delivered, (unsigned long)v.expected,
            (unsigned long)v.lost, (unsigned long)count.duplicates,
            (unsigned long)count.misplaced, (unsigned long)errors);
}
