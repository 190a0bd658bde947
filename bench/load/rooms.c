/*
 * Who is in which room, and whether everybody heard everything once, in order and
 * unchanged.
 *
 * Each message is a line: room, side of the sender, its number there, the moment at
 * which it was due, and the text.
 */
#include "load.h"

#include <stdlib.h>
#include <string.h>

struct client *clients;
struct part *parts;
int nclients, nparts;

static void make(int n, int n_parts) {
    nclients = n;
    nparts = n_parts;
    clients = calloc((size_t)n, sizeof *clients);
    parts = calloc((size_t)n_parts + 1, sizeof *parts);
    if (!clients || !parts) die("out of memory");
    for (int i = 0; i < n; i++) {
        struct client *c = &clients[i];
        *c = (struct client){.id = i, .subscribed = i, .connections = opt.connections,
                             .talks = true};
        for (int j = 0; j < 2; j++)
            c->conn[j] = (struct conn){.owner = c, .index = (uint8_t)j, .fd = -1};
    }
}

static void give(struct client *c, struct part *p, int n) {
    c->parts = p;
    c->nparts = n;
}

struct part *nth_part(struct client *c, int n) { return c->parts + 2 * n; }

/* Rooms of two sides that hear each other, and themselves if there is an echo. */
static void furnish(int rooms, bool echo) {
    for (int i = 0; i < 2 * rooms; i++) {
        struct part *p = &parts[i];
        p->room = i / 2;
        p->side = i % 2;
        p->source[1 - p->side] = &parts[i ^ 1];
        p->source[p->side] = echo ? p : NULL;
    }
}

static void silence(struct client *c) {
    c->talks = false;
    c->connections = 1;
}

void rooms_of_two(void) {
    int rooms = (opt.clients + 1) / 2;
    make(2 * rooms, 2 * rooms);
    furnish(rooms, opt.echo);
    for (int i = 0; i < nclients; i++) {
        give(&clients[i], &parts[i], 1);
        clients[i].subscribed = i / 2;
        if (opt.talkers && i / 2 >= opt.talkers) silence(&clients[i]);
    }
}

/* The last client publishes in room 0, and reads another. */
void one_to_many(void) {
    make(opt.clients + 1, opt.clients + 1);
    for (int i = 0; i <= opt.clients; i++) {
        give(&clients[i], &parts[i], 1);
        clients[i].subscribed = i < opt.clients ? 0 : 1;
        if (i < opt.clients) parts[i].source[0] = &parts[opt.clients];
        parts[i].side = i < opt.clients;
    }
}

void strangers(void) { make(opt.clients, 0); }

static const char *next_token(FILE *file) {
    char line[2048];
    if (!fgets(line, sizeof line, file))
        die("%s has fewer tokens than there are agents", opt.tokens);
    line[strcspn(line, "\r\n")] = 0;
    return strdup(line);
}

/* Customers, one to a chat, then agents with several chats each. */
void chats(int nchats) {
    int each = opt.chats_per_agent, agents = (nchats + each - 1) / each;
    FILE *tokens = fopen(opt.tokens, "r");
    if (!tokens) die("%s cannot be read", opt.tokens);
    make(nchats + agents, 2 * nchats);
    furnish(nchats, true);
    for (int i = 0; i < nchats; i++) {
        clients[i].role = CUSTOMER;
        give(&clients[i], &parts[2 * i], 1);
        if (opt.talkers && i >= opt.talkers) silence(&clients[i]);
    }
    for (int a = 0; a < agents; a++) {
        struct client *c = &clients[nchats + a];
        int first = a * each, left = nchats - first;
        c->role = AGENT;
        c->token = next_token(tokens);
        give(c, &parts[2 * first + 1], left < each ? left : each);
    }
    fclose(tokens);
}

int line_of(struct part *p, int64_t due, char *out, int size) {
    return snprintf(out, (size_t)size, "%d %d %u %lld %s", p->room, p->side, p->said,
                    (long long)due, opt.text);
}

static void forget(struct track *t, uint32_t n) {
    if (t->newest && n - t->newest < WINDOW)
        for (uint32_t i = t->newest + 1; i <= n; i++)
            t->bits[i % WINDOW / 64] &= ~(1ull << i % 64);
    else memset(t->bits, 0, sizeof t->bits);
}

/* Notes the sender's message number n, and what is wrong about its coming now. */
static void hear(struct track *t, uint32_t n, uint8_t connection) {
    uint64_t *word = &t->bits[n % WINDOW / 64], bit = 1ull << n % 64;
    if (n > t->newest) {
        forget(t, n);
        t->newest = n;
        t->connection = connection;
    } else if (t->newest - n >= WINDOW || *word & bit) {
        count.duplicates++;
        return;
    } else if (t->connection == connection) {
        count.reordered++;
    } else {
        count.overtaken++;
    }
    *word |= bit;
    t->heard++;
}

/* Notes a line that came on this connection; false if it is none. */
bool heard(struct client *c, struct conn *k, struct part *p, struct span line) {
    char head[80], *rest = head;
    copy_span(head, sizeof head, line);
    int64_t v[4];
    for (int i = 0; i < 4; i++) {
        char *begin = rest;
        v[i] = strtoll(begin, &rest, 10);
        if (rest == begin || *rest++ != ' ') return false;
    }
    if (v[0] != p->room || v[1] < 0 || v[1] > 1 || !p->source[v[1]]) {
        count.foreign++;
        complain("client %d: a message of room %lld", c->id, (long long)v[0]);
        return true;
    }
    int used = (int)(rest - head);
    struct span text = {line.p + used, line.n - used};
    if (!text_is(text, opt.text, (int)strlen(opt.text))) count.corrupt++;
    count.delivered++;
    hear(&p->from[v[1]], (uint32_t)v[2], k->index);
    if (measuring && v[3] >= window_begins && v[3] < window_ends)
        note(latency, (now_ns() - v[3]) / 1000);
    return true;
}

/* Notes a transcript entry's position: the next one is due. False if it came before. */
bool placed(struct part *p, int64_t position) {
    if (position <= p->position) {
        count.duplicates++;
        complain("room %d: position %lld again", p->room, (long long)position);
        return false;
    }
    if (position != p->position + 1) {
        count.misplaced++;
        complain("room %d: position %lld after %u", p->room, (long long)position,
                 p->position);
    }
    p->position = (uint32_t)position;
    return true;
}

/* What was acknowledged to its sender must have been heard. */
struct verdict judge(void) {
    struct verdict v = {0};
    for (int i = 0; i < nclients; i++) {
        struct client *c = &clients[i];
        v.unanswered += (uint64_t)c->queue_n;
        for (int j = 0; j < c->nparts; j++) {
            struct part *p = nth_part(c, j);
            v.unanswered += p->said - p->acked;
            for (int s = 0; s < 2 && c->state == UP; s++) {
                if (!p->source[s]) continue;
                uint32_t due = p->source[s]->acked, got = p->from[s].heard;
                v.expected += due;
                v.lost += due > got ? due - got : 0;
            }
        }
    }
    return v;
}

uint64_t errors_between(const struct counters *a, const struct counters *b) {
#define SINCE(field) (b->field - a->field)
    return SINCE(http_errors) + SINCE(broken) + SINCE(refused) + SINCE(bad_json) +
           SINCE(unexpected) + SINCE(unsuccessful) + SINCE(duplicates) +
           SINCE(reordered) + SINCE(foreign) + SINCE(corrupt) + SINCE(misplaced);
#undef SINCE
}
