/* The command line. */
#include "load.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct options opt = {
    .host = "127.0.0.1", .port = 80, .path = "/", .scenario = "chat",
    .clients = 100, .chats_per_agent = 4, .connections = 2, .inflight = 100,
    .missed = 500, .returns = 400,
    .label = "server", .channel = "/chat/%d", .handshake_extra = "", .headers = "",
    .text = "Guten Tag, ich h\xc3\xa4tte eine Frage zu meiner Bestellung 4711: "
            "ist sie schon unterwegs?",
    .rates = {100}, .nrates = 1, .duration = 10, .warmup = 3, .drain = 5, .echo = true,
};

static const char USAGE[] =
    "bayeux-load --url http://HOST:PORT/PATH --scenario NAME [options]\n"
    "  --scenario S       chat, fanout, storm, idle, gmschat or replay\n"
    "  --clients N        sessions (fanout: subscribers; replay: customers)\n"
    "  --talkers N        chat, gmschat: rooms in which something is said (all)\n"
    "  --rate R[,R...]    messages per second in total; several: one after the other\n"
    "  --duration S       measured seconds per rate (10)   --warmup S  before each (3)\n"
    "  --p99-limit MS     stop at the first rate with a higher p99, or with errors\n"
    "  --pid P[,P...]     the server's processes, for CPU and memory\n"
    "  --store-pid P      the process of the database that the server uses\n"
    "  --inflight N       sessions that are being set up at a time (100)\n"
    "  --connections 1|2  connections per client (2)\n"
    "  --agent-tokens F   gmschat, replay: a file with one agent's token per line\n"
    "  --chats-per-agent N  gmschat, replay (4)\n"
    "  --missed N         replay: entries that a customer has missed (500)\n"
    "  --returns N        replay: measured returns (400)\n"
    "  --channel FORMAT   of the rooms (/chat/%d)\n"
    "  --handshake-extra  JSON members added to /meta/handshake\n"
    "  --headers TEXT     further header lines, each ending with \\r\\n\n"
    "  --append-type      POST to PATH/handshake, PATH/connect ... as CometD's client does\n"
    "  --no-echo          the publisher does not get its own message\n"
    "  --text T           what is said            --drain S  wait for the last (5)\n"
    "  --keep             leave without /meta/disconnect\n"
    "  --label L --out FILE (JSON lines, appended)  --verbose\n";

_Noreturn void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("bayeux-load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(2);
}

/* Tells of a fault; only of the first ones unless --verbose. */
void complain(const char *format, ...) {
    static int told;
    if (!opt.verbose && told++ >= 10) return;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

bool scenario_is(const char *name) { return !strcmp(opt.scenario, name); }

static int whole(const char *text, int least) {
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || *end || end == text || value < least || value > 10000000)
        die("%s: a whole number of at least %d is needed", text, least);
    return (int)value;
}

static double amount(const char *text) {
    char *end;
    double value = strtod(text, &end);
    if (*end || end == text || !(value >= 0)) die("%s: a number is needed", text);
    return value;
}

static void read_url(char *url) {
    if (strncmp(url, "http://", 7)) die("%s: an address like http://HOST:PORT/PATH", url);
    char *host = url + 7, *slash = strchr(host, '/');
    if (slash) {
        snprintf(opt.path, sizeof opt.path, "%s", slash);
        *slash = 0;
    }
    char *colon = strchr(host, ':');
    if (colon) {
        *colon = 0;
        opt.port = whole(colon + 1, 1);
    }
    snprintf(opt.host, sizeof opt.host, "%s", host);
    snprintf(opt.base, sizeof opt.base, "%s", opt.path);
    char *last = strrchr(opt.base, '/');
    if (last) *last = 0;
}

static void read_rates(char *text) {
    opt.nrates = 0;
    for (char *t = strtok(text, ","); t; t = strtok(NULL, ",")) {
        if (opt.nrates == MAX_RATES) die("at most %d rates", MAX_RATES);
        double rate = amount(t);
        if (rate <= 0) die("--rate: more than 0 is needed");
        opt.rates[opt.nrates++] = rate;
    }
    if (!opt.nrates) die("--rate: a number is needed");
}

static void read_pids(char *text) {
    for (char *t = strtok(text, ","); t; t = strtok(NULL, ",")) {
        if (opt.npids == MAX_PIDS) die("at most %d processes", MAX_PIDS);
        opt.pids[opt.npids++] = whole(t, 1);
    }
}

static void unescape(char *s) {
    char *w = s;
    for (; *s; s++) {
        bool escape = *s == '\\' && (s[1] == 'r' || s[1] == 'n');
        *w++ = !escape ? *s : *++s == 'r' ? '\r' : '\n';
    }
    *w = 0;
}

static FILE *appended(const char *path) {
    FILE *file = fopen(path, "a");
    if (!file) die("%s: %s", path, strerror(errno));
    return file;
}

static const struct option LONG[] = {
    {"url", 1, 0, 'u'}, {"scenario", 1, 0, 's'}, {"clients", 1, 0, 'n'},
    {"rate", 1, 0, 'r'}, {"duration", 1, 0, 'd'}, {"warmup", 1, 0, 'w'},
    {"pid", 1, 0, 'p'}, {"inflight", 1, 0, 'i'}, {"connections", 1, 0, 'c'},
    {"channel", 1, 0, 'C'}, {"handshake-extra", 1, 0, 'x'}, {"headers", 1, 0, 'H'},
    {"append-type", 0, 0, 'a'}, {"no-echo", 0, 0, 'e'}, {"text", 1, 0, 't'},
    {"keep", 0, 0, 'k'}, {"label", 1, 0, 'l'}, {"out", 1, 0, 'o'},
    {"verbose", 0, 0, 'v'}, {"p99-limit", 1, 0, 'L'}, {"drain", 1, 0, 'D'},
    {"agent-tokens", 1, 0, 'T'}, {"chats-per-agent", 1, 0, 'A'}, {"missed", 1, 0, 'M'},
    {"returns", 1, 0, 'R'}, {"talkers", 1, 0, 'K'}, {"store-pid", 1, 0, 'S'},
    {0, 0, 0, 0},
};

static bool read_number(int name) {
    switch (name) {
    case 'n': opt.clients = whole(optarg, 1); return true;
    case 'd': opt.duration = amount(optarg); return true;
    case 'w': opt.warmup = amount(optarg); return true;
    case 'i': opt.inflight = whole(optarg, 1); return true;
    case 'c': opt.connections = whole(optarg, 1); return true;
    case 'L': opt.p99_limit_ms = amount(optarg); return true;
    case 'D': opt.drain = amount(optarg); return true;
    case 'A': opt.chats_per_agent = whole(optarg, 1); return true;
    case 'M': opt.missed = whole(optarg, 1); return true;
    case 'K': opt.talkers = whole(optarg, 1); return true;
    case 'S': opt.store_pid = whole(optarg, 1); return true;
    case 'R': opt.returns = whole(optarg, 1); return true;
    default: return false;
    }
}

static void read_word(int name) {
    switch (name) {
    case 'u': read_url(optarg); break;
    case 's': snprintf(opt.scenario, sizeof opt.scenario, "%s", optarg); break;
    case 'r': read_rates(optarg); break;
    case 'p': read_pids(optarg); break;
    case 'C': opt.channel = optarg; break;
    case 'x': opt.handshake_extra = optarg; break;
    case 'H': unescape(optarg); opt.headers = optarg; break;
    case 'T': opt.tokens = optarg; break;
    case 't': opt.text = optarg; break;
    case 'l': opt.label = optarg; break;
    case 'o': opt.out = appended(optarg); break;
    case 'a': opt.append_type = true; break;
    case 'e': opt.echo = false; break;
    case 'k': opt.keep = true; break;
    case 'v': opt.verbose = true; break;
    default: fputs(USAGE, stderr); exit(2);
    }
}

/* The room's number is printed with this format: nothing else may be in it. */
static void check_channel(void) {
    const char *percent = strchr(opt.channel, '%');
    if (!percent || percent[1] != 'd' || strchr(percent + 1, '%') ||
        strlen(opt.channel) > 80)
        die("--channel: one %%d is needed, for the room, and at most 80 bytes");
}

/* Texts go into JSON as they are, and lines have a bound. */
static void check_text(void) {
    if (strpbrk(opt.text, "\"\\\n\r\t") || strlen(opt.text) > 1000)
        die("--text: no quotes, backslashes or line ends, and at most 1000 bytes");
    if (strlen(opt.handshake_extra) > 1000 || strlen(opt.headers) > 1000)
        die("--handshake-extra and --headers: at most 1000 bytes");
}

void read_options(int argc, char **argv) {
    opt.out = stdout;
    for (int name; (name = getopt_long(argc, argv, "", LONG, NULL)) != -1;)
        if (!read_number(name)) read_word(name);
    bool chat = scenario_is("gmschat") || scenario_is("replay");
    bool talk = scenario_is("chat") || scenario_is("fanout") || chat;
    if (!talk && !scenario_is("storm") && !scenario_is("idle"))
        die("--scenario %s: there is no such scenario", opt.scenario);
    if (opt.connections > 2) die("--connections: 1 or 2");
    if (talk && opt.connections == 1)
        die("%s needs --connections 2: one with a held poll can send nothing",
            opt.scenario);
    if (chat && !opt.tokens) die("%s needs --agent-tokens", opt.scenario);
    if (!strcmp(opt.path, "/")) die("--url http://HOST:PORT/PATH is needed");
    check_channel();
    check_text();
}
