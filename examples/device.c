/*
 * A bare device: a microphone's samples and a text out, an MP3 back. Plain HTTP, BSD sockets (an
 * ESP32's lwIP has the same), no JSON library, no memory but what is named here.
 *
 *   cc -o device examples/device.c && ./device 127.0.0.1 8080 me.pcm '你好' hello.mp3
 *
 * me.pcm is bare samples: 16 bit, little endian, one channel, 16 kHz, as I2S gives them. Where the
 * relay wants to know who calls, VOXRELAY_TOKEN is a key (`voxrelay access create device`).
 */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define EDGE "voxrelay-device"
#define TRIES 30 /* seconds that a relay may be away */

static const char *host, *port;
static char answer[16384]; /* the largest a job may be; sound goes past it, piece by piece */
static char piece[1024];

static int connected(void) {
    struct addrinfo want = {.ai_socktype = SOCK_STREAM}, *found;
    int line = -1;
    if (getaddrinfo(host, port, &want, &found)) return -1;
    for (struct addrinfo *at = found; at && line < 0; at = at->ai_next) {
        line = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (line >= 0 && connect(line, at->ai_addr, at->ai_addrlen)) close(line), line = -1;
    }
    freeaddrinfo(found);
    return line;
}

static int put(int line, const char *bytes, size_t count) {
    while (count) {
        ssize_t sent = send(line, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        bytes += sent, count -= (size_t)sent;
    }
    return 0;
}

/* The head of a request. HTTP/1.0: the answer comes whole, and its end is that of the line. */
static int head(int line, const char *method, const char *path, const char *more) {
    char text[1024];
    const char *token = getenv("VOXRELAY_TOKEN");
    int length = snprintf(text, sizeof text, "%s %s HTTP/1.0\r\nHost: %s:%s\r\n%s%s%s%s\r\n", method, path, host,
                          port, token ? "Authorization: Bearer " : "", token ? token : "", token ? "\r\n" : "", more);
    return length < 0 || (size_t)length >= sizeof text ? -1 : put(line, text, (size_t)length);
}

/* Reads an answer: its status; its body to `file`, or to `answer`. 0 where the line broke. */
static int heard(int line, FILE *file) {
    size_t had = 0;
    ssize_t got;
    char *body = NULL;
    int status = 0;
    while ((got = recv(line, answer + had, sizeof answer - 1 - had, 0)) > 0) {
        had += (size_t)got, answer[had] = 0;
        if (!body && (body = strstr(answer, "\r\n\r\n"))) {
            if (sscanf(answer, "HTTP/%*s %d", &status) != 1) return 0;
            had -= (size_t)(body + 4 - answer);
            memmove(answer, body + 4, had + 1);
        }
        if (body && file && status == 200 && had) {
            if (fwrite(answer, 1, had, file) != had) return 0;
            had = 0;
        }
        if (had == sizeof answer - 1) return 0; /* larger than any answer of ours */
    }
    return got < 0 || !body ? 0 : status;
}

/* What stands after `name` in the answer, up to a quote. */
static const char *field(const char *name, char *into, size_t size) {
    const char *at = strstr(answer, name);
    if (!at) return NULL;
    at += strlen(name);
    size_t length = strcspn(at, "\"");
    if (length >= size) return NULL;
    memcpy(into, at, length), into[length] = 0;
    return into;
}

static int part(char *text, size_t size, const char *name, const char *value) {
    return snprintf(text, size, "--" EDGE "\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n", name, value);
}

/* One try to send the job; the same `key` is the same job, however often it is tried. */
static int sent(const char *key, const char *text, FILE *sound) {
    static char before[8192];
    static const char after[] = "\r\n--" EDGE "--\r\n";
    char more[512];
    int length = part(before, sizeof before, "text", text);
    if (length < 0 || (size_t)length >= sizeof before / 2) return -1;
    length += part(before + length, sizeof before - length, "format", "mp3");
    length += part(before + length, sizeof before - length, "pcm", "{\"sample_rate\": 16000}");
    length += snprintf(before + length, sizeof before - length, "--" EDGE
                       "\r\nContent-Disposition: form-data; name=\"recording\"; filename=\"a\"\r\n\r\n");
    fseek(sound, 0, SEEK_END);
    snprintf(more, sizeof more, "Idempotency-Key: %s\r\nContent-Type: multipart/form-data; boundary=" EDGE
             "\r\nContent-Length: %ld\r\n", key, length + ftell(sound) + (long)sizeof after - 1);
    rewind(sound);
    int line = connected(), broke = line < 0 || head(line, "POST", "/v1/jobs", more) || put(line, before, (size_t)length);
    for (size_t got; !broke && (got = fread(piece, 1, sizeof piece, sound)) > 0;) broke = put(line, piece, got);
    if (!broke) broke = put(line, after, sizeof after - 1);
    int status = line < 0 ? 0 : heard(line, NULL); /* a refusal may come before all is sent */
    if (line >= 0) close(line);
    return status;
}

static int asked(const char *path, FILE *file) {
    int line = connected(), status = 0;
    if (line >= 0 && !head(line, "GET", path, "")) status = heard(line, file);
    if (line >= 0) close(line);
    return status;
}

/* Whether the relay may answer otherwise a second later. */
static int passing(int status) { return status == 0 || status >= 500 || status == 429; }

static int given_up(const char *what, int status) {
    fprintf(stderr, "%s: %d %s\n", what, status, status > 0 ? answer : "no answer");
    return 1;
}

int main(int count, char **word) {
    char key[64], id[64], path[512], url[512];
    int status = 0;
    if (count != 6) return fprintf(stderr, "usage: device HOST PORT SAMPLES TEXT MP3\n"), 2;
    host = word[1], port = word[2];
    FILE *sound = fopen(word[3], "rb");
    if (!sound) return perror(word[3]), 1;
    snprintf(key, sizeof key, "device-%ld-%ld", (long)time(NULL), (long)getpid()); /* on a chip: its serial, a counter */

    for (int tries = 0; tries < TRIES && passing(status = sent(key, word[4], sound)); tries++) sleep(1);
    if (status != 202 || !field("\"job_id\":\"", id, sizeof id)) return given_up("not accepted", status);

    snprintf(path, sizeof path, "/v1/jobs/%s", id);
    for (int silent = 0; silent < TRIES; sleep(1)) {
        status = asked(path, NULL);
        if (status && !passing(status) && status != 200) break;
        silent = status == 200 ? 0 : silent + 1;
        if (status == 200 && strstr(answer, "\"ended\":true")) break;
    }
    const char *audio = status == 200 ? strstr(answer, "\"audio\":{") : NULL;
    if (!audio) return given_up("not spoken", status);
    memmove(answer, audio, strlen(audio) + 1);
    if (!field("\"url\":\"http://", url, sizeof url) || !strchr(url, '/')) return given_up("not at a plain address", status);

    for (int tries = 0; tries < TRIES; tries++, sleep(1)) {
        FILE *file = fopen(word[5], "wb");
        if (!file) return perror(word[5]), 1;
        status = asked(strchr(url, '/'), file);
        if (fclose(file) == 0 && status == 200) return 0;
        if (!passing(status)) break;
    }
    return given_up("not fetched", status);
}
