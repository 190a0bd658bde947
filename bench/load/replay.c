/*
 * Customers who come back: each shakes hands with the position it has, subscribes and
 * polls until it has everything, and says goodbye with the former position, so that it
 * can come back once more.
 */
#include "load.h"

#include <string.h>

static int left_to_start, running, done;

static void leave(struct client *c) {
    struct conn *k = spare(c);
    c->state = CLOSING;
    if (k->outstanding != NOTHING) conn_close(k);
    k->outstanding = NOTHING;
    request(k, DISCONNECT, NULL, 0);
}

static void wait_for(int *counter, int value, const char *what) {
    int64_t limit = now_ns() + 120000000000LL;
    while (*counter < value) {
        net_poll(now_ns() + 10000000);
        if (ndead) die("%s: %d clients failed", what, ndead);
        if (now_ns() > limit) die("%s: only %d of %d in 120 s", what, *counter, value);
    }
}

static void all_leave(void) {
    for (int i = 0; i < opt.clients; i++) {
        parts[2 * i].first = parts[2 * i].position;
        leave(&clients[i]);
    }
    wait_for(&ngone, opt.clients, "customers that leave");
}

static int agents_have(void) {
    int all = 0;
    for (int i = 1; i < nparts; i += 2) all += (int)parts[i].from[1].heard;
    return all;
}

/* The agents write what the customers miss. */
static void write_missed(void) {
    for (int n = 0; n < opt.missed; n++)
        for (int i = opt.clients; i < nclients; i++)
            for (int j = 0; j < clients[i].nparts; j++)
                schedule(&clients[i], nth_part(&clients[i], j), PUBLISH, now_ns());
    int64_t moved = now_ns();
    for (int seen = 0; seen < opt.clients * opt.missed;) {
        net_poll(now_ns() + 10000000);
        int now = agents_have();
        if (now != seen) moved = now_ns();
        seen = now;
        if (now_ns() - moved > 20000000000LL) die("the agents cannot write any more");
    }
    for (int i = 0; i < nparts; i += 2) parts[i].last = parts[i + 1].position;
}

static void come(struct client *c) {
    struct part *p = c->parts;
    memset(p->from, 0, sizeof p->from);
    p->position = p->first;
    c->state = STARTING;
    left_to_start--;
    running++;
    request(spare(c), HANDSHAKE, NULL, 0);
}

/* Takes the next step of a customer that comes back. */
void returned(struct client *c) {
    struct part *p = c->parts;
    if (c->state == GONE) {
        running--;
        done++;
        if (left_to_start > 0) come(c);
    } else if (p->position < p->last) {
        request(spare(c), CONNECT, NULL, 0);
    } else {
        if (p->from[1].heard != (p->last - p->first)) count.misplaced++;
        p->position = p->first;
        leave(c);
    }
}

static void come_back(int times) {
    int together = opt.inflight < opt.clients ? opt.inflight : opt.clients;
    left_to_start = times;
    done = 0;
    for (int i = 0; i < together && left_to_start > 0; i++) come(&clients[i]);
    wait_for(&done, times, "customers that come back");
}

static void measure(int missed) {
    struct snapshot a, b;
    come_back(opt.clients < opt.returns ? opt.clients : opt.returns);
    snapshot(&a);
    come_back(opt.returns);
    snapshot(&b);
    report_returns(&a, &b, missed, opt.returns);
}

/* Returns with the missed entries, and for comparison returns that missed nothing. */
void replay(void) {
    accept_all();
    all_leave();
    write_missed();
    report_phase("written");
    for (int i = 0; i < opt.clients; i++) clients[i].returning = true;
    measure(opt.missed);
    for (int i = 0; i < nparts; i += 2) parts[i].first = parts[i].last;
    measure(0);
}
