/* A client's life: it comes, polls, says something, goes. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

int nup, ndead, ngone, nstarting;
int64_t setup_done_at;
struct counters count;
struct histogram *latency, *answer_time, *lateness;
bool measuring;
int64_t window_begins, window_ends;

/* The connection for all but polls. */
struct conn *spare(struct client *c) { return &c->conn[c->connections - 1]; }

void request(struct conn *k, enum kind kind, struct part *p, int64_t due) {
    struct client *c = k->owner;
    char body[8192], path[512];
    if (!conn_ready(k)) {
        client_failed(c, "connection refused");
        return;
    }
    k->outstanding = kind;
    k->about = p;
    k->sent_at = now_ns();
    if (is_rest(kind)) {
        int n = rest_body(kind, p, due, body, sizeof body);
        rest_path(c, kind, path, sizeof path);
        http_post(k, path, "application/x-www-form-urlencoded", body, n);
    } else {
        int n = bayeux_body(k, kind, p, due, body, sizeof body);
        snprintf(path, sizeof path, "%s%s", opt.path,
                 opt.append_type ? kind_suffix(kind) : "");
        http_post(k, path, "application/json;charset=UTF-8", body, n);
    }
    count.published += kind == PUBLISH || kind == SEND;
}

static void settled(void) {
    nstarting--;
    if (nup + ndead == nclients) setup_done_at = now_ns();
}

void client_up(struct client *c) {
    c->state = UP;
    nup++;
    settled();
    if (!scenario_is("storm")) request(&c->conn[0], CONNECT, NULL, 0);
}

void client_failed(struct client *c, const char *why) {
    if (c->state == DEAD || c->state == GONE) return;
    complain("client %d: %s (state %d)", c->id, why, c->state);
    bool starting = c->state == STARTING;
    nup -= c->state == UP;
    c->state = DEAD;
    ndead++;
    conn_close(&c->conn[0]);
    conn_close(&c->conn[1]);
    if (starting) settled();
}

static void start(struct client *c) {
    nstarting++;
    c->state = STARTING;
    request(spare(c), c->role == CUSTOMER ? SERVICE : HANDSHAKE, NULL, 0);
}

/* Both are there: the subscription, and the first connect. */
static void ready(struct client *c) {
    if (!c->have_subscription || !c->have_connect) return;
    if (c->role == CUSTOMER) request(spare(c), OPEN_CHAT, NULL, 0);
    else client_up(c);
}

static void shaken(struct conn *k, const struct reply *r) {
    struct client *c = k->owner;
    strcpy(c->client_id, r->client_id);
    if (c->returning) {
        request(k, RETURN, NULL, 0);
        return;
    }
    request(k, SUBSCRIBE, NULL, 0);
    if (c->connections == 2 && c->state == STARTING)
        request(&c->conn[0], FIRST_CONNECT, NULL, 0);
}

static void said(struct conn *k, bool good) {
    if (good) {
        k->about->acked++;
        count.acked++;
    }
    pump(k->owner);
}

static void polled(struct conn *k, const struct reply *r) {
    struct client *c = k->owner;
    if (c->state == CLOSING || c->state == GONE) return;
    count.polls++;
    count.empty_polls += !r->events;
    if (c->returning) returned(c);
    else request(k, CONNECT, NULL, 0);
}

static void gone(struct client *c) {
    c->state = GONE;
    ngone++;
    conn_close(&c->conn[0]);
    if (c->returning) returned(c);
    else conn_close(&c->conn[1]);
}

/* What follows a reply that was good. */
static void proceed(struct conn *k, enum kind kind, const struct reply *r) {
    struct client *c = k->owner;
    switch (kind) {
    case SERVICE: request(k, HANDSHAKE, NULL, 0); break;
    case HANDSHAKE: shaken(k, r); break;
    case SUBSCRIBE:
        c->have_subscription = true;
        if (c->connections == 1) request(k, FIRST_CONNECT, NULL, 0);
        else ready(c);
        break;
    case FIRST_CONNECT: c->have_connect = true; ready(c); break;
    case OPEN_CHAT: client_up(c); break;
    case CONNECT: case RETURN: polled(k, r); break;
    case PUBLISH: case SEND: said(k, true); break;
    case ACCEPT: k->about->accepted = true; pump(c); break;
    case DISCONNECT: gone(c); break;
    default: break;
    }
}

static void refused(struct conn *k, enum kind kind, const char *why) {
    complain("client %d: request %d was refused: %s", k->owner->id, kind, why);
    if (kind == PUBLISH || kind == SEND) said(k, false);
    else if (kind == CONNECT && k->owner->state == CLOSING) return;
    else client_failed(k->owner, "it cannot go on");
}

static void on_bayeux(struct conn *k, enum kind kind, const char *body, int n) {
    struct reply r;
    const char *channel = reply_channel(k->owner, kind);
    if (!read_messages(k, body, n, channel, &r)) {
        count.bad_json++;
        complain("client %d: this is no batch: %.300s", k->owner->id, body);
    }
    if (!r.found) {
        count.unexpected++;
        refused(k, kind, "no reply");
    } else if (!r.good || (kind == HANDSHAKE && !r.client_id[0])) {
        count.unsuccessful++;
        refused(k, kind, r.error);
    } else {
        proceed(k, kind, &r);
    }
}

void on_response(struct conn *k, int status, char *body, int n) {
    enum kind kind = k->outstanding;
    count.exchanges++;
    k->outstanding = NOTHING;
    if (kind == NOTHING) {
        count.unexpected++;
        complain("client %d: a response without a request", k->owner->id);
        return;
    }
    if (kind != CONNECT && measuring)
        note(answer_time, (now_ns() - k->sent_at) / 1000);
    if (status != 200) {
        count.http_errors++;
        complain("client %d: HTTP %d", k->owner->id, status);
        refused(k, kind, body);
    } else if (!is_rest(kind)) {
        on_bayeux(k, kind, body, n);
    } else if (read_rest(k->owner, kind, body, n)) {
        proceed(k, kind, NULL);
    } else {
        count.bad_json++;
        refused(k, kind, body);
    }
}

void on_lost(struct conn *k, const char *why) {
    struct client *c = k->owner;
    enum kind kind = k->outstanding;
    conn_close(k);
    k->outstanding = NOTHING;
    if (kind == NOTHING) {
        count.reopened++;       /* the server may close what nobody uses */
    } else if (kind == DISCONNECT) {
        gone(c);
    } else if (c->state == UP || c->state == STARTING) {
        count.broken++;
        complain("client %d: lost with request %d: %s", c->id, kind, why);
        if (kind == CONNECT && !c->returning) request(k, CONNECT, NULL, 0);
        else if (kind == PUBLISH || kind == SEND) pump(c);
        else client_failed(c, why);
    }
}

/* Does the next job, if the connection is free. */
void pump(struct client *c) {
    struct conn *k = spare(c);
    if (c->state != UP || !c->queue_n || k->outstanding != NOTHING) return;
    struct job job = c->queue[c->queue_first];
    c->queue_first = (c->queue_first + 1) % c->queue_size;
    c->queue_n--;
    if (measuring) note(lateness, (now_ns() - job.due) / 1000);
    request(k, job.kind, job.part, job.due);
}

static void grow(struct client *c) {
    int size = c->queue_size ? c->queue_size * 2 : 4;
    struct job *queue = malloc((size_t)size * sizeof *queue);
    if (!queue) die("out of memory");
    for (int i = 0; i < c->queue_n; i++)
        queue[i] = c->queue[(c->queue_first + i) % c->queue_size];
    free(c->queue);
    c->queue = queue;
    c->queue_first = 0;
    c->queue_size = size;
}

void schedule(struct client *c, struct part *p, enum kind kind, int64_t due) {
    if (c->state != UP) return;
    if (c->queue_n == c->queue_size) grow(c);
    int last = (c->queue_first + c->queue_n++) % c->queue_size;
    c->queue[last] = (struct job){p, due, kind};
    count.scheduled += kind != ACCEPT;
    pump(c);
}

enum { STUCK_S = 20 };          /* no client came up for so long */

/* Lets clients come, `--inflight` at a time. */
void start_clients(int first, int n) {
    int next = first, seen = -1;
    int64_t moved = now_ns();
    while (next < first + n || nstarting) {
        while (next < first + n && nstarting < opt.inflight) start(&clients[next++]);
        net_poll(now_ns() + 10000000);
        if (nup + ndead != seen) moved = now_ns();
        seen = nup + ndead;
        if (now_ns() - moved > STUCK_S * 1000000000LL)
            die("%d of %d clients came up, %d failed, and no more come", nup, nclients,
                ndead);
    }
}

static void say_goodbye(struct client *c) {
    struct conn *k = spare(c);
    c->state = CLOSING;
    if (c->connections == 1 || k->outstanding != NOTHING) conn_close(k);
    k->outstanding = NOTHING;
    request(k, DISCONNECT, NULL, 0);
}

void stop_clients(void) {
    int64_t limit = now_ns() + STUCK_S * 1000000000LL;
    int next = 0, sent = 0, before = ngone;
    while (now_ns() < limit && (next < nclients || ngone - before < sent)) {
        while (next < nclients && sent - (ngone - before) < opt.inflight) {
            struct client *c = &clients[next++];
            if (c->state != UP) continue;
            sent++;
            say_goodbye(c);
        }
        net_poll(now_ns() + 10000000);
    }
}
