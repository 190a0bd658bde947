/* What each scenario does, one step after the other. */
#include "load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct speaker { struct client *client; struct part *part; };
static struct speaker *speakers;
static int nspeakers, turn;
static int64_t next_at;
static double fraction;

void quiet(double s) { net_run(now_ns() + (int64_t)(s * 1e9)); }

static void build(void) {
    if (scenario_is("chat")) rooms_of_two();
    else if (scenario_is("fanout")) one_to_many();
    else if (scenario_is("gmschat")) {
        int per = opt.chats_per_agent;
        chats((opt.clients * per + per) / (per + 1));
    } else if (scenario_is("replay")) chats(opt.clients);
    else strangers();
}

/* Who speaks, in random order: everybody who talks, or the publisher alone. */
static void find_speakers(void) {
    speakers = calloc((size_t)nparts, sizeof *speakers);
    if (!speakers) die("out of memory");
    for (int i = scenario_is("fanout") ? nclients - 1 : 0; i < nclients; i++)
        for (int j = 0; j < clients[i].nparts; j++) {
            struct part *p = nth_part(&clients[i], j);
            bool heard_of = !opt.talkers || p->room < opt.talkers;
            if (clients[i].talks && heard_of)
                speakers[nspeakers++] = (struct speaker){&clients[i], p};
        }
    for (int i = nspeakers - 1; i > 0; i--) {
        int j = (int)(lrand48() % (i + 1));
        struct speaker s = speakers[i];
        speakers[i] = speakers[j];
        speakers[j] = s;
    }
}

/* Evenly spaced messages, `rate` per second in total: all that are due by then. */
static void speak(double rate, int64_t by) {
    double gap = 1e9 / rate;
    while (next_at <= by) {
        struct speaker *s = &speakers[turn++ % nspeakers];
        schedule(s->client, s->part, s->client->role == CUSTOMER ? SEND : PUBLISH,
                 next_at);
        double step = gap + fraction;
        next_at += (int64_t)step;
        fraction = step - floor(step);
    }
}

/* All messages that are due before `until`, and none that is due later. */
static void speak_until(double rate, int64_t until) {
    for (int64_t t; (t = now_ns()) < until;
         net_poll(next_at < until ? next_at : until))
        speak(rate, t);
    speak(rate, until - 1);
}

static double hearers(void) {
    if (scenario_is("fanout")) return nclients - 1;
    return opt.echo ? 2 : 1;
}

/* One window at this rate; false if there is no point in a higher one. */
static bool measure(double rate) {
    struct snapshot a, b;
    if (next_at < now_ns()) next_at = now_ns();
    window_begins = now_ns() + (int64_t)(opt.warmup * 1e9);
    speak_until(rate, window_begins);
    memset(latency, 0, sizeof *latency);
    memset(answer_time, 0, sizeof *answer_time);
    memset(lateness, 0, sizeof *lateness);
    window_ends = window_begins + (int64_t)(opt.duration * 1e9);
    measuring = true;
    snapshot(&a);
    speak_until(rate, window_ends);
    snapshot(&b);
    double wanted = (double)(b.count.scheduled - a.count.scheduled) * hearers();
    /* The load goes on while the last messages of the window arrive. */
    speak_until(rate, now_ns() + (int64_t)(fmin(opt.duration, 1) * 1e9));
    measuring = false;
    bool kept_up = !ndead && !errors_between(&a.count, &count) &&
                   (double)latency->n >= 0.99 * wanted &&
                   quantile_ms(latency, .99) <= opt.p99_limit_ms;
    report_steady(&a, &b, rate, wanted, kept_up);
    return !opt.p99_limit_ms || kept_up;
}

/* Waits until everything was answered and heard, and for what comes too often. */
static struct verdict settle(void) {
    int64_t limit = now_ns() + (int64_t)(opt.drain * 1e9);
    struct verdict v;
    do {
        net_poll(now_ns() + 50000000);
        v = judge();
    } while ((v.lost || v.unanswered) && now_ns() < limit);
    quiet(0.3);
    return judge();
}

/* Lets the agents take all their chats, after the customers have asked for them. */
void accept_all(void) {
    int64_t moved = now_ns();
    int waiting, before = -1;
    for (int i = 0; i < nclients; i++)
        for (int j = 0; clients[i].role == AGENT && j < clients[i].nparts; j++)
            schedule(&clients[i], nth_part(&clients[i], j), ACCEPT, now_ns());
    do {
        net_poll(now_ns() + 10000000);
        waiting = 0;
        for (int i = 1; i < nparts; i += 2) waiting += !parts[i].accepted;
        if (waiting != before) moved = now_ns();
        before = waiting;
        if (now_ns() - moved > 20000000000LL) die("%d chats were not accepted", waiting);
    } while (waiting);
    quiet(0.5);                 /* what it brings to both sides */
}

static int talk(void) {
    if (scenario_is("gmschat")) accept_all();
    find_speakers();
    quiet(0.5);
    for (int i = 0; i < opt.nrates; i++)
        if (!measure(opt.rates[i])) break;
    struct verdict v = settle();
    static const struct counters none;
    report_check(v);
    return v.lost || v.unanswered || errors_between(&none, &count);
}

static void hold(double rss_before) {
    struct snapshot a, b;
    quiet(opt.warmup);
    double rss_up = server_rss_kib();
    snapshot(&a);
    quiet(opt.duration);
    snapshot(&b);
    report_steady(&a, &b, 0, 0, true);
    report_memory(rss_before, rss_up, server_rss_kib());
}

static int finish(void) {
    static const struct counters none;
    return errors_between(&none, &count) > 0;
}

/* Returns 0 if everything was as it must be. */
int run_scenario(void) {
    struct snapshot a, b;
    build();
    net_open();
    http_prepare();
    double rss_before = server_rss_kib();
    snapshot(&a);
    start_clients(0, nclients);
    snapshot(&b);
    report_setup(&a, &b);
    int failed = ndead > 0;
    if (scenario_is("idle")) hold(rss_before);
    if (scenario_is("replay")) replay();
    failed |= scenario_is("chat") || scenario_is("fanout") || scenario_is("gmschat")
                  ? talk() : finish();
    if (!opt.keep) stop_clients();
    return failed;
}
