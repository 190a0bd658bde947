/*
 * What all parts of the load generator share: the options, the clients, the counters.
 *
 * One thread, one epoll. A client has up to two connections: one for its polls, one for
 * everything else. A part is a client's place in a room: what it says there, and what it
 * has heard there.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* -- options.c ------------------------------------------------------------------- */

enum { MAX_RATES = 64, MAX_PIDS = 64 };

struct options {
    char host[128], path[256], base[256], scenario[16];
    int port, clients, talkers, chats_per_agent, connections, inflight, missed, returns;
    const char *label, *channel, *handshake_extra, *headers, *tokens, *text;
    FILE *out;
    double rates[MAX_RATES], duration, warmup, drain, p99_limit_ms;
    int nrates, pids[MAX_PIDS], npids, store_pid;
    bool echo, append_type, keep, verbose;
};
extern struct options opt;

void read_options(int argc, char **argv);
bool scenario_is(const char *name);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* -- measure.c ------------------------------------------------------------------- */

enum { STEPS = 64, BUCKETS = STEPS * 40 };
struct histogram { uint64_t n, bucket[BUCKETS]; int64_t max; };

int64_t now_ns(void);
void note(struct histogram *h, int64_t us);
double quantile_ms(const struct histogram *h, double q);
void server_cpu(double *user, double *system, double *each);
double store_cpu(void);
double server_rss_kib(void);
double server_wait(void);
double own_cpu(void);
double others_cpu(void);

/* -- json.c ---------------------------------------------------------------------- */

struct span { const char *p; int n; };

const char *json_space(const char *p, const char *end);
const char *json_string(const char *p, const char *end, struct span *out);
const char *json_skip(const char *p, const char *end);
const char *json_key(const char *p, const char *end, struct span *key, bool *done);
const char *json_item(const char *p, const char *end, bool *done);
bool key_is(struct span s, const char *key);
bool text_is(struct span s, const char *text, int n);
int64_t number(const char *p);
void copy_span(char *to, int size, struct span from);

/* -- clients --------------------------------------------------------------------- */

enum kind {
    NOTHING, HANDSHAKE, SUBSCRIBE, FIRST_CONNECT, CONNECT, PUBLISH, DISCONNECT,
    SERVICE, OPEN_CHAT, SEND, ACCEPT, RETURN
};
enum role { MEMBER, CUSTOMER, AGENT };
enum state { NEW, STARTING, UP, CLOSING, GONE, DEAD };

struct client;
struct conn {
    int fd;
    bool open, connecting;
    uint8_t index;              /* 0: polls, 1: everything else */
    enum kind outstanding;
    struct part *about;         /* the part that the outstanding request is about */
    int64_t sent_at;
    struct client *owner;
    char *in;  int in_n, in_size;
    char *outgoing; int out_n, out_done;
};

enum { WINDOW = 512 };
struct track {                  /* which of one sender's messages were heard */
    uint32_t newest, heard;
    uint64_t bits[WINDOW / 64];
    uint8_t connection;
};

struct part {
    struct part *source[2];     /* whom it hears, by side; NULL: nobody */
    int room, side;
    uint32_t said, acked;
    uint32_t position;          /* of the last transcript entry it has */
    uint32_t first, last;       /* replay: the positions before and after what it missed */
    struct track from[2];
    char chat[48];
    bool accepted;
};

struct job { struct part *part; int64_t due; enum kind kind; };
struct client {
    int id, subscribed;         /* the room whose channel it reads */
    enum role role;
    enum state state;
    bool have_subscription, have_connect, returning, talks;
    uint32_t message_id;
    char client_id[80], cookie[200], service[48];
    const char *token;
    struct part *parts; int nparts;   /* every other element from `parts` on is its own */
    int connections;
    struct job *queue; int queue_first, queue_n, queue_size;
    struct conn conn[2];
};

struct counters {
    uint64_t scheduled, published, acked, delivered, exchanges, polls, empty_polls;
    uint64_t duplicates, reordered, overtaken, foreign, corrupt, misplaced, absences;
    uint64_t http_errors, broken, refused, bad_json, unexpected, unsuccessful, reopened;
};

extern struct client *clients;
extern struct part *parts;
extern int nclients, nparts, nup, ndead, ngone, nstarting;
extern struct counters count;
extern struct histogram *latency, *answer_time, *lateness;
extern bool measuring;
extern int64_t window_begins, window_ends, setup_done_at;

/* -- net.c, http.c --------------------------------------------------------------- */

void net_open(void);
void net_poll(int64_t until);
void net_run(int64_t until);
void conn_send(struct conn *k, const char *bytes, int n);
void conn_close(struct conn *k);
bool conn_ready(struct conn *k);
int http_take(struct conn *k, char *bytes, int n);
void http_post(struct conn *k, const char *path, const char *type, const char *body, int n);
void http_prepare(void);

/* -- rooms.c: who hears what, and was it heard once, in order, unchanged? ---------- */

struct verdict { uint64_t expected, lost, unanswered; };

void rooms_of_two(void);
void one_to_many(void);
void strangers(void);
void chats(int nchats);
int line_of(struct part *p, int64_t due, char *out, int size);
bool heard(struct client *c, struct conn *k, struct part *p, struct span line);
bool placed(struct part *p, int64_t position);
struct verdict judge(void);
uint64_t errors_between(const struct counters *a, const struct counters *b);
struct part *nth_part(struct client *c, int n);

/* -- bayeux.c: a client's life ----------------------------------------------------- */

void request(struct conn *k, enum kind kind, struct part *p, int64_t due);
void on_response(struct conn *k, int status, char *body, int n);
void client_failed(struct client *c, const char *why);
void client_up(struct client *c);
void on_lost(struct conn *k, const char *why);
void schedule(struct client *c, struct part *p, enum kind kind, int64_t due);
void pump(struct client *c);
void start_clients(int first, int n);
void stop_clients(void);
struct conn *spare(struct client *c);

/* -- requests.c: what is sent ------------------------------------------------------ */

int bayeux_body(struct conn *k, enum kind kind, struct part *p, int64_t due,
                char *body, int size);
const char *rest_path(struct client *c, enum kind kind, char *path, int size);
int rest_body(enum kind kind, struct part *p, int64_t due, char *body, int size);
bool is_rest(enum kind kind);
const char *kind_suffix(enum kind kind);
const char *reply_channel(struct client *c, enum kind kind);
const char *room_channel(int room);

/* -- replies.c: what is received ---------------------------------------------------- */

struct reply {
    bool found, good;
    int events;
    char client_id[80], error[160];
};

bool read_messages(struct conn *k, const char *body, int n, const char *channel,
                   struct reply *r);
bool read_rest(struct client *c, enum kind kind, const char *body, int n);

/* -- report.c ---------------------------------------------------------------------- */

struct snapshot {
    int64_t at;
    double user, system, each[MAX_PIDS], store, own, others, wait;
    struct counters count;
};

void snapshot(struct snapshot *s);
double cpu_between(const struct snapshot *a, const struct snapshot *b);
void report_steady(const struct snapshot *a, const struct snapshot *b, double rate,
                   double wanted, bool kept_up);
void report_setup(const struct snapshot *a, const struct snapshot *b);
void report_phase(const char *phase);
void report_memory(double before, double after_setup, double at_end);
void report_returns(const struct snapshot *a, const struct snapshot *b, int missed,
                    int returns);
void report_check(struct verdict v);

/* -- scenarios.c, replay.c ----------------------------------------------------------- */

int run_scenario(void);
void accept_all(void);
void quiet(double seconds);
void replay(void);
void returned(struct client *c);

#endif
