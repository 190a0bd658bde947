/* What clients send: Bayeux messages, and the customers' requests by REST. */
#include "load.h"

#include <ctype.h>
#include <string.h>

bool is_rest(enum kind kind) {
    return kind == SERVICE || kind == OPEN_CHAT || kind == SEND;
}

const char *kind_suffix(enum kind kind) {
    switch (kind) {
    case HANDSHAKE: return "/handshake";
    case FIRST_CONNECT: case CONNECT: return "/connect";
    case DISCONNECT: return "/disconnect";
    default: return "/";
    }
}

const char *room_channel(int room) {
    static char channel[128];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* read_options has checked it */
    snprintf(channel, sizeof channel, opt.channel, room);
#pragma GCC diagnostic pop
    return channel;
}

static const char *subscription(struct client *c) {
    switch (c->role) {
    case CUSTOMER: return "/_genesys";
    case AGENT: return "/service/agent";
    default: return room_channel(c->subscribed);
    }
}

/* The channel of the reply to a request. */
const char *reply_channel(struct client *c, enum kind kind) {
    switch (kind) {
    case HANDSHAKE: return "/meta/handshake";
    case SUBSCRIBE: return "/meta/subscribe";
    case FIRST_CONNECT: case CONNECT: case RETURN: return "/meta/connect";
    case DISCONNECT: return "/meta/disconnect";
    default: return c->role == AGENT ? "/service/agent" : room_channel(c->parts->room);
    }
}

/* What identifies a client in its handshake, after a comma; empty for a member. */
static void identity(struct client *c, char *out, size_t size) {
    *out = 0;
    if (c->role == AGENT)
        snprintf(out, size, ",\"ext\":{\"auth\":{\"token\":\"%s\"}}", c->token);
    else if (c->role == CUSTOMER && c->returning)
        snprintf(out, size, ",\"ext\":{\"serviceId\":\"%s\",\"transcriptPosition\":\"%u\"}",
                 c->service, c->parts->position);
    else if (c->role == CUSTOMER)
        snprintf(out, size, ",\"ext\":{\"serviceId\":\"%s\"}", c->service);
    else if (*opt.handshake_extra)
        snprintf(out, size, ",%s", opt.handshake_extra);
}

/* The position that a customer confirms, after a comma. */
static const char *position(struct client *c) {
    static char ext[64];
    if (c->role != CUSTOMER) return "";
    snprintf(ext, sizeof ext, ",\"ext\":{\"transcriptPosition\":\"%u\"}",
             c->parts->position);
    return ext;
}

static int handshake(struct client *c, char *body, int size) {
    char extra[3072];
    identity(c, extra, sizeof extra);
    return snprintf(body, (size_t)size,
                    "[{\"id\":\"%u\",\"version\":\"1.0\",\"minimumVersion\":\"1.0\","
                    "\"channel\":\"/meta/handshake\","
                    "\"supportedConnectionTypes\":[\"long-polling\"],"
                    "\"advice\":{\"timeout\":60000,\"interval\":0}%s}]",
                    c->message_id, extra);
}

static int publish(struct client *c, struct part *p, int64_t due, char *body, int size) {
    char line[1200];
    p->said++;
    line_of(p, due, line, sizeof line);
    if (c->role == AGENT)
        return snprintf(body, (size_t)size,
                        "[{\"id\":\"%u\",\"channel\":\"/service/agent\",\"data\":{"
                        "\"operation\":\"sendMessage\",\"chatId\":\"%s\","
                        "\"message\":\"%s\",\"localId\":\"s%u\"},\"clientId\":\"%s\"}]",
                        c->message_id, p->chat, line, p->said, c->client_id);
    return snprintf(body, (size_t)size,
                    "[{\"id\":\"%u\",\"channel\":\"%s\",\"data\":{\"line\":\"%s\"},"
                    "\"clientId\":\"%s\"}]",
                    c->message_id, room_channel(p->room), line, c->client_id);
}

static int accept_chat(struct client *c, struct part *p, char *body, int size) {
    return snprintf(body, (size_t)size,
                    "[{\"id\":\"%u\",\"channel\":\"/service/agent\",\"data\":{"
                    "\"operation\":\"acceptChat\",\"chatId\":\"%s\",\"localId\":\"a\"},"
                    "\"clientId\":\"%s\"}]",
                    c->message_id, p->chat, c->client_id);
}

/* One message on a /meta channel, with further members. */
static int meta(struct client *c, const char *channel, const char *more, char *body,
                int size) {
    return snprintf(body, (size_t)size,
                    "{\"id\":\"%u\",\"channel\":\"/meta/%s\",\"clientId\":\"%s\"%s%s}",
                    c->message_id, channel, c->client_id, more, position(c));
}

static int subscribe_message(struct client *c, char *body, int size) {
    char more[200];
    snprintf(more, sizeof more, ",\"subscription\":\"%s\"", subscription(c));
    return meta(c, "subscribe", more, body, size);
}

static int connect_message(struct client *c, bool first, char *body, int size) {
    const char *more = first ? ",\"connectionType\":\"long-polling\",\"advice\":{\"timeout\":0}"
                             : ",\"connectionType\":\"long-polling\"";
    return meta(c, "connect", more, body, size);
}

static int bracketed(int n, char *body) {
    body[0] = '[';
    body[n + 1] = ']';
    return n + 2;
}

/* Writes the body of a Bayeux request; returns its size. */
int bayeux_body(struct conn *k, enum kind kind, struct part *p, int64_t due, char *body,
                int size) {
    struct client *c = k->owner;
    int n;
    c->message_id++;
    switch (kind) {
    case HANDSHAKE: return handshake(c, body, size);
    case PUBLISH: return publish(c, p, due, body, size);
    case ACCEPT: return accept_chat(c, p, body, size);
    case SUBSCRIBE: return bracketed(subscribe_message(c, body + 1, size - 2), body);
    case FIRST_CONNECT: return bracketed(connect_message(c, true, body + 1, size - 2), body);
    case CONNECT: return bracketed(connect_message(c, false, body + 1, size - 2), body);
    case DISCONNECT: return bracketed(meta(c, "disconnect", "", body + 1, size - 2), body);
    case RETURN:
        n = subscribe_message(c, body + 1, size - 3);
        body[++n] = ',';
        c->message_id++;
        return bracketed(n + connect_message(c, false, body + 1 + n, size - 3 - n), body);
    default: die("kind %d is no Bayeux request", kind);
    }
}

static int form_encoded(const char *text, char *out, int size) {
    int n = 0;
    for (; *text && n < size - 4; text++) {
        unsigned char b = (unsigned char)*text;
        if (b == ' ') out[n++] = '+';
        else if (isalnum(b)) out[n++] = (char)b;
        else n += sprintf(out + n, "%%%02X", b);
    }
    out[n] = 0;
    return n;
}

const char *rest_path(struct client *c, enum kind kind, char *path, int size) {
    if (kind == SERVICE) snprintf(path, (size_t)size, "%s/1/service/bench", opt.base);
    else
        snprintf(path, (size_t)size, "%s/1/service/%s/ixn/chat%s", opt.base, c->service,
                 kind == SEND ? "/send" : "");
    return path;
}

/* Writes the form of a customer's request; returns its size. */
int rest_body(enum kind kind, struct part *p, int64_t due, char *body, int size) {
    char line[1200], form[3700];
    if (kind == SERVICE) return snprintf(body, (size_t)size, "customerNumber=4711");
    if (kind == OPEN_CHAT)
        return snprintf(body, (size_t)size,
                        "notify_by=comet&userDisplayName=Cleo&subject=Invoice");
    p->said++;
    line_of(p, due, line, sizeof line);
    form_encoded(line, form, sizeof form);
    return snprintf(body, (size_t)size, "message=%s&localId=m%u", form, p->said);
}
