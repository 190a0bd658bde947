/* HTTP/1.1 as a browser speaks it: requests out, whole responses in. */
#define _GNU_SOURCE
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static char common[3072];

struct head { int status, size; long length; bool chunked, closing; };

/* The header lines that every request has: about 680 bytes, as browsers send them. */
void http_prepare(void) {
    snprintf(common, sizeof common,
             "Host: %s:%d\r\nConnection: keep-alive\r\n"
             "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 "
             "(KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\n"
             "Accept: */*\r\nOrigin: http://%s:%d\r\nSec-Fetch-Site: same-origin\r\n"
             "Sec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
             "Referer: http://%s:%d/\r\nAccept-Encoding: identity\r\n"
             "Accept-Language: de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7\r\n%s",
             opt.host, opt.port, opt.host, opt.port, opt.host, opt.port, opt.headers);
}

void http_post(struct conn *k, const char *path, const char *type, const char *body,
               int n) {
    char request[16384];
    const char *cookie = k->owner->cookie;
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\n%sContent-Type: %s\r\n%s%s%s"
                        "Content-Length: %d\r\n\r\n%.*s",
                        path, common, type, *cookie ? "Cookie: " : "", cookie,
                        *cookie ? "\r\n" : "", n, n, body);
    if (size >= (int)sizeof request) die("a request of %d bytes is too large", size);
    conn_send(k, request, size);
}

static void keep_cookie(struct client *c, const char *value, const char *end) {
    while (value < end && *value == ' ') value++;
    int n = 0, had = (int)strlen(c->cookie);
    while (value + n < end && value[n] != ';') n++;
    const char *equals = memchr(value, '=', (size_t)n);
    if (!equals || memmem(c->cookie, (size_t)had, value, (size_t)(equals - value + 1)))
        return;
    snprintf(c->cookie + had, sizeof c->cookie - (size_t)had, "%s%.*s", had ? "; " : "",
             n, value);
}

static const char *value_of(const char *line, const char *end, const char *name) {
    size_t n = strlen(name);
    return end - line > (long)n && !strncasecmp(line, name, n) ? line + n : NULL;
}

static void read_line(struct client *c, const char *line, const char *end,
                      struct head *h) {
    const char *v;
    size_t n = (size_t)(end - line);
    if ((v = value_of(line, end, "Content-Length:"))) h->length = atol(v);
    else if (value_of(line, end, "Transfer-Encoding:"))
        h->chunked = memmem(line, n, "chunked", 7) != NULL;
    else if (value_of(line, end, "Connection:"))
        h->closing = memmem(line, n, "close", 5) != NULL;
    else if ((v = value_of(line, end, "Set-Cookie:"))) keep_cookie(c, v, end);
}

/* 1: read; 0: not all of it is there; -1: this is no HTTP */
static int read_head(struct client *c, const char *bytes, int n, struct head *h) {
    const char *end = memmem(bytes, (size_t)n, "\r\n\r\n", 4);
    if (!end) return 0;
    if (n < 12 || memcmp(bytes, "HTTP/1.", 7)) return -1;
    *h = (struct head){.status = atoi(bytes + 9), .size = (int)(end - bytes) + 4};
    for (const char *line = bytes; line < end;) {
        const char *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2);
        read_line(c, line, stop, h);
        line = stop + 2;
    }
    return 1;
}

/* The size of a chunked body, its chunks and all; 0 if it is not complete. */
static int chunked_size(const char *body, const char *end) {
    for (const char *p = body;;) {
        const char *line_end = memmem(p, (size_t)(end - p), "\r\n", 2);
        if (!line_end) return 0;
        long size = strtol(p, NULL, 16);
        if (size < 0 || end - line_end < size + 4) return 0;
        p = line_end + 2 + size + 2;
        if (!size) return (int)(p - body);
    }
}

/* Puts the chunks together in place; returns the size of what they hold. */
static int join_chunks(char *body) {
    char *to = body;
    for (char *p = body;;) {
        long size = strtol(p, &p, 16);
        if (!size) return (int)(to - body);
        p = strstr(p, "\r\n") + 2;
        memmove(to, p, (size_t)size);
        to += size;
        p += size + 2;
    }
}

/* Handles one response; returns its bytes, 0 if it is not complete, -1 if it is none. */
int http_take(struct conn *k, char *bytes, int n) {
    struct head h;
    int known = read_head(k->owner, bytes, n, &h);
    if (known <= 0) return known;
    char *body = bytes + h.size;
    int raw = h.chunked ? chunked_size(body, bytes + n) : (int)h.length;
    if (n - h.size < raw || (h.chunked && !raw)) return 0;
    int size = h.chunked ? join_chunks(body) : raw;
    char behind = body[size];
    body[size] = 0;             /* there is a byte to spare behind the buffer */
    on_response(k, h.status, body, size);
    body[size] = behind;
    if (h.closing && k->open && k->outstanding == NOTHING) {
        conn_close(k);
        count.reopened++;
    }
    return h.size + raw;
}
