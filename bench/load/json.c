/* A walker through JSON text; it copies nothing and checks no more than it needs. */
#include "load.h"

#include <stdlib.h>
#include <string.h>

const char *json_space(const char *p, const char *end) {
    while (p < end && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r')) p++;
    return p;
}

/* From the quote at p to behind the closing one; NULL if there is none. */
const char *json_string(const char *p, const char *end, struct span *out) {
    const char *begin = ++p;
    while (p < end && *p != '"') p += *p == '\\' ? 2 : 1;
    if (p >= end) return NULL;
    if (out) *out = (struct span){begin, (int)(p - begin)};
    return p + 1;
}

static const char *skip_nested(const char *p, const char *end) {
    int depth = 0;
    while (p < end) {
        if (*p == '"') {
            if (!(p = json_string(p, end, NULL))) return NULL;
            continue;
        }
        if (*p == '{' || *p == '[') depth++;
        else if ((*p == '}' || *p == ']') && --depth == 0) return p + 1;
        p++;
    }
    return NULL;
}

/* To behind the value at p; NULL if the text ends in it. */
const char *json_skip(const char *p, const char *end) {
    p = json_space(p, end);
    if (p >= end) return NULL;
    if (*p == '"') return json_string(p, end, NULL);
    if (*p == '{' || *p == '[') return skip_nested(p, end);
    while (p < end && !strchr(",}] \t\r\n", *p)) p++;
    return p;
}

/* In an object, p behind its brace or a value: the next key, and where its value is. */
const char *json_key(const char *p, const char *end, struct span *key, bool *done) {
    p = json_space(p, end);
    if (p < end && *p == ',') p = json_space(p + 1, end);
    if ((*done = p < end && *p == '}')) return p + 1;
    if (p >= end || *p != '"' || !(p = json_string(p, end, key))) return NULL;
    p = json_space(p, end);
    return p < end && *p == ':' ? json_space(p + 1, end) : NULL;
}

/* In an array, p behind its bracket or a value: where the next value is. */
const char *json_item(const char *p, const char *end, bool *done) {
    p = json_space(p, end);
    if (p < end && *p == ',') p = json_space(p + 1, end);
    if (p >= end) return NULL;
    *done = *p == ']';
    return *done ? p + 1 : p;
}

bool key_is(struct span s, const char *key) {
    return s.n == (int)strlen(key) && !memcmp(s.p, key, (size_t)s.n);
}

/* A number, also one that is written as a string. */
int64_t number(const char *p) { return strtoll(*p == '"' ? p + 1 : p, NULL, 10); }

void copy_span(char *to, int size, struct span from) {
    int n = 0;
    for (int i = 0; i < from.n && n < size - 1; i++)
        if (from.p[i] != '\\') to[n++] = from.p[i];
    to[n] = 0;
}

static int put_utf8(unsigned c, char *o) {
    int more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const unsigned first[] = {0, 0xc0, 0xe0, 0xf0};
    o[0] = (char)(first[more] | c >> 6 * more);
    for (int i = 1; i <= more; i++) o[i] = (char)(0x80 | ((c >> 6 * (more - i)) & 63));
    return more + 1;
}

static unsigned hex4(const char *p) {
    char digits[5] = {p[0], p[1], p[2], p[3], 0};
    return (unsigned)strtoul(digits, NULL, 16);
}

/* One \escape at p; returns the bytes read, and adds those written to *o. */
static int unescape(const char *p, int left, char *out, int *o) {
    static const char from[] = "ntrbf", to[] = "\n\t\r\b\f";
    if (left < 6 || p[1] != 'u') {
        const char *known = strchr(from, p[1]);
        out[(*o)++] = known && p[1] ? to[known - from] : p[1];
        return 2;
    }
    unsigned c = hex4(p + 2);
    bool pair = c >= 0xd800 && c < 0xdc00 && left >= 12 && p[6] == '\\' && p[7] == 'u';
    if (pair) c = 0x10000 + ((c - 0xd800) << 10) + (hex4(p + 8) - 0xdc00);
    *o += put_utf8(c, out + *o);
    return pair ? 12 : 6;
}

/* Does the inside of a JSON string stand for this UTF-8 text? */
bool text_is(struct span s, const char *text, int n) {
    if (s.n == n && !memcmp(s.p, text, (size_t)n)) return true;
    char out[4096];
    int o = 0;
    for (int i = 0; i < s.n && o < (int)sizeof out - 8;)
        if (s.p[i] == '\\') i += unescape(s.p + i, s.n - i, out, &o);
        else out[o++] = s.p[i++];
    return o == n && !memcmp(out, text, (size_t)n);
}
