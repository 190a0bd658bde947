/* What the server sends: replies, and events of rooms, chats and transcripts. */
#include "load.h"

#include <string.h>

/* Walks through the members of the object at p; NULL if it is none. */
#define MEMBERS(p, end, key, done) \
    for (bool done = !((p) = *(p) == '{' ? (p) + 1 : NULL); \
         !done && ((p) = json_key(p, end, &(key), &done)) && !done; \
         (p) = json_skip(p, end), done = !(p))

static bool member_event(struct client *c, struct conn *k, const char *p,
                         const char *end) {
    struct span key, line = {0};
    MEMBERS(p, end, key, done)
        if (key_is(key, "line") && *p == '"') json_string(p, end, &line);
    return p && line.p && heard(c, k, c->parts, line);
}

static int count_items(const char *p, const char *end) {
    int n = 0;
    for (bool done = false; p && (p = json_item(p, end, &done)) && !done; n++)
        p = json_skip(p, end);
    return n;
}

/* An entry of GMS v1: five strings, the first its kind, the third its text. */
static bool entry(struct client *c, struct conn *k, const char *p, const char *end,
                  int64_t position) {
    struct span field[3] = {{0}};
    bool done = false;
    p++;
    for (int i = 0; i < 3; i++) {
        if (!(p = json_item(p, end, &done)) || done || *p != '"') return false;
        if (!(p = json_string(p, end, &field[i]))) return false;
    }
    if (!placed(c->parts, position) || !key_is(field[0], "Message.Text")) return true;
    return heard(c, k, c->parts, field[2]);
}

/* `message` of an event on /_genesys. */
static bool transcript(struct client *c, struct conn *k, const char *p,
                       const char *end) {
    struct span key;
    struct span chat = {0};
    const char *shown = NULL;
    int64_t position = -1;
    MEMBERS(p, end, key, done) {
        if (key_is(key, "chatSessionId") && *p == '"') json_string(p, end, &chat);
        else if (key_is(key, "transcriptPosition")) position = number(p);
        else if (key_is(key, "transcriptToShow") && *p == '[') shown = p + 1;
    }
    if (!p || !chat.p || !shown || position < 0) return false;
    if (*c->parts->chat && !key_is(chat, c->parts->chat)) {
        count.foreign++;        /* unless it came before the answer that names it */
        return true;
    }
    position -= count_items(shown, end) - 1;
    for (bool done = false; (shown = json_item(shown, end, &done)) && !done;) {
        if (*shown != '[' || !entry(c, k, shown, end, position++)) return false;
        if (!(shown = json_skip(shown, end))) return false;
    }
    return shown != NULL;
}

static bool customer_event(struct client *c, struct conn *k, const char *p,
                           const char *end) {
    struct span key;
    const char *message = NULL;
    MEMBERS(p, end, key, done)
        if (key_is(key, "message") && *p == '{') message = p;
    return p && message && transcript(c, k, message, end);
}

static struct part *part_of(struct client *c, struct span chat) {
    for (int i = 0; i < c->nparts; i++)
        if (key_is(chat, nth_part(c, i)->chat)) return nth_part(c, i);
    return NULL;
}

/* One of the agent's `messages`: an entry, or a notice, which has no index. */
static bool line_for_agent(struct client *c, struct conn *k, struct part *part,
                           const char *p, const char *end) {
    struct span key, type = {0}, text = {0};
    int64_t index = 0;
    MEMBERS(p, end, key, done) {
        if (key_is(key, "index")) index = number(p);
        else if (key_is(key, "type") && *p == '"') json_string(p, end, &type);
        else if (key_is(key, "text") && *p == '"') json_string(p, end, &text);
    }
    if (!p) return false;
    if (!index) count.absences++;
    if (!index || !placed(part, index) || !key_is(type, "Message")) return true;
    return text.p && heard(c, k, part, text);
}

static bool agent_event(struct client *c, struct conn *k, const char *p,
                        const char *end) {
    struct span key, chat = {0};
    const char *lines = NULL;
    int64_t status = -1;
    MEMBERS(p, end, key, done) {
        if (key_is(key, "chatId") && *p == '"') json_string(p, end, &chat);
        else if (key_is(key, "statusCode")) status = number(p);
        else if (key_is(key, "messages") && *p == '[') lines = p + 1;
    }
    if (!p || status || !chat.p) return false;
    struct part *part = part_of(c, chat);
    if (!part) {
        count.foreign++;
        return true;
    }
    for (bool done = !lines; !done && (lines = json_item(lines, end, &done)) && !done;) {
        if (!line_for_agent(c, k, part, lines, end)) return false;
        if (!(lines = json_skip(lines, end))) return false;
    }
    return true;
}

static bool event(struct client *c, struct conn *k, const char *data, const char *end) {
    switch (c->role) {
    case CUSTOMER: return customer_event(c, k, data, end);
    case AGENT: return agent_event(c, k, data, end);
    default: return member_event(c, k, data, end);
    }
}

struct message { struct span channel, client_id, error; const char *data; int good; };

static const char *read_message(const char *p, const char *end, struct message *m) {
    struct span key;
    *m = (struct message){.good = -1};
    MEMBERS(p, end, key, done) {
        if (key_is(key, "channel") && *p == '"') json_string(p, end, &m->channel);
        else if (key_is(key, "clientId") && *p == '"') json_string(p, end, &m->client_id);
        else if (key_is(key, "successful")) m->good = *p == 't';
        else if (key_is(key, "data")) m->data = p;
        else if (key_is(key, "error") && *p == '"') json_string(p, end, &m->error);
    }
    return p;
}

static void on_reply(struct conn *k, struct message *m, const char *wanted,
                     struct reply *r) {
    char channel[128];
    copy_span(channel, sizeof channel, m->channel);
    if (!strcmp(channel, wanted)) {
        r->found = true;
        r->good = m->good;
        copy_span(r->client_id, sizeof r->client_id, m->client_id);
        copy_span(r->error, sizeof r->error, m->error);
    } else if (!k->owner->returning || strcmp(channel, "/meta/subscribe") || !m->good) {
        count.unexpected++;
        complain("client %d: a reply on %s", k->owner->id, channel);
    }
}

/* Reads the body of a response; false if it is no array of messages. */
bool read_messages(struct conn *k, const char *body, int n, const char *wanted,
                   struct reply *r) {
    const char *end = body + n, *p = json_space(body, end);
    *r = (struct reply){0};
    if (p >= end || *p++ != '[') return false;
    for (bool done = false; (p = json_item(p, end, &done)) && !done;) {
        const char *begin = p;
        struct message m;
        if (!(p = read_message(p, end, &m))) return false;
        if (m.good >= 0 && m.channel.p) {
            on_reply(k, &m, wanted, r);
        } else if (m.data && event(k->owner, k, m.data, end)) {
            r->events++;
        } else {
            count.unexpected++;
            complain("client %d: a strange message: %.300s", k->owner->id, begin);
        }
    }
    return p != NULL;
}

/* Reads a customer's answer by REST; false if what is needed of it is not there. */
bool read_rest(struct client *c, enum kind kind, const char *body, int n) {
    const char *end = body + n, *p = json_space(body, end);
    struct span key, id = {0}, chat = {0};
    if (p >= end) return false;
    MEMBERS(p, end, key, done) {
        if (key_is(key, "_id") && *p == '"') json_string(p, end, &id);
        else if (key_is(key, "chatSessionId") && *p == '"') json_string(p, end, &chat);
    }
    if (!p || !(kind == SERVICE ? id.p : chat.p)) return false;
    if (kind == SERVICE) copy_span(c->service, sizeof c->service, id);
    if (kind != OPEN_CHAT) return true;
    copy_span(c->parts[0].chat, sizeof c->parts[0].chat, chat);
    copy_span(c->parts[1].chat, sizeof c->parts[1].chat, chat);
    return true;
}
