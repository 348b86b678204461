/* A load generator for WebSocket servers, cheap enough not to be what is measured.
 *
 * One thread, one epoll. It opens N connections, lets each send the messages that make it a member, and then, by mode:
 *
 *   fanout   the first connection publishes with W events in flight (the next goes out when one of its own comes back)
 *   rate     the first connection publishes R events a second, whatever comes back
 *   calls    every connection keeps W requests in flight and counts the answers
 *   idle     nothing: holds the connections until its standard input ends
 *   storm    all but the first drop, the first publishes E events, and all come back with --rejoin, in which %e and
 *            %o stand for the position of the first's "joined"; ends when each has got the E events. Their ages are the
 *            times from the first reconnection to a client's having caught up
 *   audience holds the connections, each saying --ping once in --heartbeat seconds; when a line with a number comes on its
 *            standard input it waits for so many events of other publishers at every connection, reports, and holds on
 *
 * An event's body carries "@<sequence>:<nanoseconds>@", so that whatever a server wraps around it, or joins it with, the
 * marks of what arrived can be counted (two for each event), and its age be read. With a rate, an event's time is the one
 * at which it was due: that the generator itself came late does not make the server look faster.
 *
 * It says "start", "joined", "measure" and "measured" at these moments (in mode idle "idle" instead of the last two), and
 * each time waits for a line on its standard input, so that the server's CPU and memory can be read there.
 *
 * The part of an answer that --refusal names says no. A refusal is no answer: it comes sooner, and then fewer requests are in
 * flight than were asked for. A join or handshake that is refused ends the run, with the exit status 3. "refused" counts
 * refused requests. "unanswered" counts requests that nothing has answered ten seconds after the last answer, and events of the
 * publisher that did not come back to it. A figure holds only if both are 0.
 *
 * Prints one line of JSON. "busy" is the share of one core that this program itself used while measuring, "joining_busy"
 * the same while the connections were opened.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTING, SHAKING, SPEAKING, MEMBER, GONE };
#define MAX_SAYS 4
#define BUFFER (256 * 1024)
#define SAMPLES 4000000
#define PATIENCE_SECONDS 180
#define LAST_ANSWER_SECONDS 10
#define EXIT_REFUSED 3
#define FILL_PAYLOAD 8192

struct connection {
    int fd, state, heard, stalled;
    long sent, received;
    char *rest; /* bytes of an incomplete handshake, or of one incomplete frame at the publisher */
    int rest_size;
};

static struct {
    const char *host, *path, *protocol, *cookie, *origin, *mode, *publish, *says[MAX_SAYS], *cookies_file, *rejoin, *ping, *answer, *refusal;
    int port, members, window, says_count, expects, payload, concurrency, stalled, warmup_ms;
    double seconds, rate, heartbeat;
    long events, fill;
} option = {.host = "127.0.0.1", .path = "/live/ws", .mode = "fanout", .members = 1, .window = 1, .payload = 128,
            .seconds = 5, .concurrency = 200, 
            .expects = 1, .warmup_ms = 500, .heartbeat = 25};

static struct connection *connections;
static int epoll_fd, opened, joined, gone;
static long marks, published, answers, bytes, refused;
static int measuring, reconnecting, behind, audience;
static int64_t storm_began;
static char ping_frame[130];
static int ping_size;
static uint32_t *ages; /* microseconds */
static long ages_count;
static char **cookies;
static int cookies_count;
static char buffer[BUFFER];

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static double cpu_seconds(void) {
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return use.ru_utime.tv_sec + use.ru_stime.tv_sec + (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void write_all(struct connection *c, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(c->fd, data, size);
        if (n < 0 && errno == EAGAIN) {
            usleep(100);
            continue;
        }
        if (n < 0) return;
        data += n, size -= n;
    }
}

/* RFC 6455, 5.2: a masked text frame; a key of zeros is as good as any here. */
static void say(struct connection *c, const char *text, size_t size) {
    static char frame[70000];
    size_t head = 2;
    frame[0] = (char)0x81;
    if (size < 126) {
        frame[1] = (char)(0x80 | size);
    } else {
        frame[1] = (char)(0x80 | 126);
        frame[2] = (char)(size >> 8), frame[3] = (char)size;
        head = 4;
    }
    memset(frame + head, 0, 4);
    memcpy(frame + head + 4, text, size);
    write_all(c, frame, head + 4 + size);
}

/* Show a refusal from its mark on, as far as it is plain text. */
static void show_refusal(const char *what, const char *mark, const char *end) {
    int size = 0;
    while (size < 200 && mark + size < end && mark[size] >= ' ') size++;
    fprintf(stderr, "%s%.*s\n", what, size, mark);
}

/* Count the refusals among answers, and show the first. One that is spread over two reads is missed; its request is unanswered. */
static void note_refusals(const char *data, int size) {
    const char *end = data + size, *p = data;
    while (option.refusal && (p = memmem(p, end - p, option.refusal, strlen(option.refusal)))) {
        if (!refused++) show_refusal("", p, end);
        p++;
    }
}

/* The next line of the greeting; of those who come back the last one says where they were. */
static void say_next(struct connection *c) {
    int last = c->heard == option.says_count - 1;
    const char *text = reconnecting && last ? option.rejoin : option.says[c->heard];
    say(c, text, strlen(text));
}

/* RFC 6455, 5.5.3: a pong carries what the ping did. */
static void pong(struct connection *c, const unsigned char *ping) {
    char frame[6 + 125] = "\x8a";
    int size = ping[1] & 127;
    if (size > 125) return;
    frame[1] = (char)(0x80 | size);
    memcpy(frame + 6, ping + 2, size);
    write_all(c, frame, 6 + size);
}

/* In the template %b is a body of the wanted size with the mark in it, %n a number that is new each time. */
static void publish_at(struct connection *c, int64_t when) {
    static char text[66000];
    size_t at = 0;
    long number = ++c->sent;
    for (const char *p = option.publish; *p; p++) {
        if (p[0] == '%' && p[1] == 'b') {
            int n = sprintf(text + at, "@%ld:%lld@", number, (long long)when);
            at += n;
            for (; n < option.payload; n++) text[at++] = 'x';
            p++;
        } else if (p[0] == '%' && p[1] == 'n') {
            at += sprintf(text + at, "%ld", number);
            p++;
        } else {
            text[at++] = *p;
        }
    }
    say(c, text, at);
    published++;
}

static void publish(struct connection *c) { publish_at(c, now_ns()); }

static void open_one(struct connection *c) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(option.port)};
    inet_pton(AF_INET, option.host, &address.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1, number = (int)(c - connections);
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->stalled = number > 0 && number <= option.stalled;
    if (c->stalled) {
        int small = 4096;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    /* More connections to one address than there are ports: 127.0.0.x are all this machine. The port is chosen by
     * connect, which may take one that still waits for the end of a connection to another server's port. */
    setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    struct sockaddr_in from = {.sin_family = AF_INET};
    from.sin_addr.s_addr = htonl(0x7f000001 + number / 20000);
    if (bind(c->fd, (struct sockaddr *)&from, sizeof from)) die("bind");
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) die("connect");
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event);
}

static void open_next(void) {
    while (opened < option.members && opened - joined < option.concurrency) open_one(&connections[opened++]);
}

static void shake(struct connection *c) {
    char request[4096], extra[3000] = "";
    const char *cookie = cookies_count ? cookies[(c - connections) % cookies_count] : option.cookie;
    if (option.protocol) sprintf(extra + strlen(extra), "Sec-WebSocket-Protocol: %s\r\n", option.protocol);
    if (cookie) sprintf(extra + strlen(extra), "Cookie: %s\r\n", cookie);
    int n = snprintf(request, sizeof request,
                     "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://%s:%d\r\n%s\r\n",
                     option.path, option.host, option.port, option.host, option.port, extra);
    write_all(c, request, n);
    c->state = SHAKING;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
}

static void lost(struct connection *c, const char *why) {
    if (c->state == GONE) return;
    if (c->state != MEMBER) {
        fprintf(stderr, "connection %ld was lost in state %d (%s)\n", (long)(c - connections), c->state, why);
        if (c->rest) fprintf(stderr, "%.*s\n", c->rest_size, c->rest);
        exit(1);
    }
    close(c->fd);
    c->state = GONE;
    gone++;
}

static void member(struct connection *c) {
    c->state = MEMBER;
    joined++;
    if (c->stalled) {
        struct epoll_event event = {.events = 0, .data.ptr = c};
        epoll_ctl(epoll_fd, EPOLL_CTL_MOD, c->fd, &event);
    }
    open_next();
}

/* Where the log stood when the first connection joined: from there the others will want to be served. */
static void note_position(const char *text, int size) {
    static char line[1000];
    const char *epoch = memmem(text, size, "\"epoch\":\"", 9), *offset = memmem(text, size, "\"offset\":", 9);
    if (!epoch || !offset) return;
    int at = 0;
    for (const char *p = option.rejoin; *p && at < 900; p++) {
        if (p[0] == '%' && p[1] == 'e') {
            at += sprintf(line + at, "%.*s", (int)strcspn(epoch + 9, "\""), epoch + 9), p++;
        } else if (p[0] == '%' && p[1] == 'o') {
            at += sprintf(line + at, "%ld", strtol(offset + 9, NULL, 10)), p++;
        } else {
            line[at++] = *p;
        }
    }
    line[at] = 0;
    option.rejoin = line;
}

/* Count the frames that arrive while a connection becomes a member; returns the bytes used. */
static int listen_frames(struct connection *c, const unsigned char *data, int size) {
    int at = 0;
    while (size - at >= 2) {
        uint64_t length = data[at + 1] & 127;
        int head = 2;
        if (length == 126) {
            if (size - at < 4) break;
            length = data[at + 2] << 8 | data[at + 3], head = 4;
        } else if (length == 127) {
            fprintf(stderr, "a frame too long while joining\n");
            exit(1);
        }
        if ((uint64_t)(size - at) < head + length) break;
        if ((data[at] & 15) == 9) {
            pong(c, data + at);
        } else if ((data[at] & 15) == 8) {
            fprintf(stderr, "closed while joining: %.*s\n", (int)length, data + at + head);
            exit(1);
        } else {
            const char *text = (const char *)data + at + head, *no = NULL;
            if (option.refusal) no = memmem(text, length, option.refusal, strlen(option.refusal));
            if (no) {
                show_refusal("refused while joining: ", no, text + length);
                exit(EXIT_REFUSED);
            }
            if (getenv("LOAD_SHOW")) fprintf(stderr, "%.*s\n", (int)length, text);
            if (option.rejoin && c == connections) note_position(text, (int)length);
            c->heard++;
            if (c->heard < option.says_count) say_next(c);
            if (c->heard == option.expects) member(c);
        }
        at += head + (int)length;
        if (c->state == MEMBER) break;
    }
    return at;
}

static void note_age(const char *text, const char *end) {
    const char *colon = memchr(text, ':', end - text);
    if (!colon || ages_count >= SAMPLES) return;
    int64_t then = strtoll(colon + 1, NULL, 10), age = (now_ns() - then) / 1000;
    ages[ages_count++] = age < 0 ? 0 : age > UINT32_MAX ? UINT32_MAX : (uint32_t)age;
}

/* Does each connection make requests, and not only the first one? */
static int all_call(void) { return !strcmp(option.mode, "calls"); }

/* A member's bytes: count the marks; at the publisher and at every 97th member read how old the events are. */
static void count(struct connection *c, const char *data, int size) {
    bytes += size;
    if (c == connections || all_call()) note_refusals(data, size);
    long mine = 0;
    int sampled = audience || (c - connections) % 97 == 0;
    const char *end = data + size, *p = data;
    while ((p = memchr(p, '@', end - p))) {
        if ((c->received + mine) % 2 == 0 && sampled && measuring > 0) note_age(p, end);
        mine++, p++;
    }
    long before = c->received / 2;
    c->received += mine;
    if (measuring > 0) marks += mine;
    long whole = c->received / 2 - before;
    if (reconnecting && c != connections) {
        if (before < option.events && c->received / 2 >= option.events) {
            ages[ages_count++] = (uint32_t)((now_ns() - storm_began) / 1000);
            behind--;
        }
        return;
    }
    if (all_call()) {
        if (measuring > 0) answers += whole;
        while (whole-- > 0 && measuring >= 0) publish(c);
    } else if (c == connections && !strcmp(option.mode, "fanout") && measuring >= 0) {
        while (whole-- > 0) publish(c);
    }
}

static void readable(struct connection *c) {
    for (;;) {
        ssize_t n = read(c->fd, buffer, sizeof buffer);
        if (n < 0 && errno == EAGAIN) return;
        if (n <= 0) {
            lost(c, n ? strerror(errno) : "closed");
            return;
        }
        char *data = buffer;
        int size = (int)n;
        if (c->state != MEMBER) {
            c->rest = realloc(c->rest, c->rest_size + size + 1);
            memcpy(c->rest + c->rest_size, data, size);
            c->rest_size += size;
            c->rest[c->rest_size] = 0;
            if (c->state == SHAKING) {
                char *end = strstr(c->rest, "\r\n\r\n");
                if (!end) continue;
                if (strncmp(c->rest, "HTTP/1.1 101", 12)) {
                    fprintf(stderr, "refused: %s\n", c->rest);
                    exit(EXIT_REFUSED);
                }
                int head = (int)(end + 4 - c->rest);
                memmove(c->rest, c->rest + head, c->rest_size - head);
                c->rest_size -= head;
                c->state = SPEAKING;
                if (option.says_count) say_next(c);
                if (!option.expects) member(c);
            }
            if (c->state == SPEAKING) {
                int used = listen_frames(c, (unsigned char *)c->rest, c->rest_size);
                memmove(c->rest, c->rest + used, c->rest_size - used);
                c->rest_size -= used;
            }
            if (c->state == MEMBER) {
                if (c->rest_size) count(c, c->rest, c->rest_size);
                free(c->rest);
                c->rest = NULL, c->rest_size = 0;
            }
        } else {
            count(c, data, size);
            /* A ping alone in a read is found; to see all of them every frame would have to be read. */
            if ((unsigned char)data[0] == 0x89 && size == 2 + (data[1] & 127)) pong(c, (unsigned char *)data);
            /* Servers that ping by messages of their own close what does not answer, so these are found anywhere. */
            if (ping_size && memmem(data, size, ping_frame, ping_size)) say(c, option.answer, strlen(option.answer));
        }
        if (n < (ssize_t)sizeof buffer) return;
    }
}

static void pump(int timeout_ms) {
    struct epoll_event events[512];
    int n = epoll_wait(epoll_fd, events, 512, timeout_ms);
    for (int i = 0; i < n; i++) {
        struct connection *c = events[i].data.ptr;
        if (c->state == GONE) continue;
        if (c->state == CONNECTING) {
            int error = 0;
            socklen_t size = sizeof error;
            getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
            if (error) {
                fprintf(stderr, "connect: %s\n", strerror(error));
                exit(1);
            }
            shake(c);
        } else if (c->stalled && c->state == MEMBER) {
            epoll_ctl(epoll_fd, EPOLL_CTL_DEL, c->fd, NULL); /* it was closed, which epoll never stops to say */
        } else {
            readable(c);
        }
    }
}

static int by_size(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static double percentile(double share) {
    return ages_count ? ages[(long)((ages_count - 1) * share)] / 1000.0 : 0;
}

static void read_cookies(void) {
    FILE *file = fopen(option.cookies_file, "r");
    if (!file) die(option.cookies_file);
    char line[2000];
    cookies = calloc(option.members + 1, sizeof *cookies);
    while (cookies_count < option.members && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\r\n")] = 0;
        cookies[cookies_count++] = strdup(line);
    }
    fclose(file);
}

static void options(int argc, char **argv) {
    static struct option names[] = {
        {"host", 1, 0, 'h'},       {"port", 1, 0, 'p'},   {"path", 1, 0, 'a'},    {"protocol", 1, 0, 'P'},
        {"cookie", 1, 0, 'c'},     {"mode", 1, 0, 'm'},   {"members", 1, 0, 'n'}, {"window", 1, 0, 'w'},
        {"say", 1, 0, 's'},        {"expect", 1, 0, 'e'}, {"publish", 1, 0, 'b'}, {"payload", 1, 0, 'l'},
        {"seconds", 1, 0, 't'},    {"rate", 1, 0, 'r'},   {"cookies", 1, 0, 'k'}, {"concurrency", 1, 0, 'C'},
        {"stalled", 1, 0, 'S'},    {"events", 1, 0, 'E'}, {"warmup-ms", 1, 0, 'W'}, {"fill", 1, 0, 'F'}, {"rejoin", 1, 0, 'R'},
        {"ping", 1, 0, 'i'},       {"pong", 1, 0, 'o'},   {"heartbeat", 1, 0, 'H'}, {"refusal", 1, 0, 'N'}, {0, 0, 0, 0}};
    int o;
    while ((o = getopt_long(argc, argv, "", names, NULL)) != -1) switch (o) {
        case 'h': option.host = optarg; break;
        case 'p': option.port = atoi(optarg); break;
        case 'a': option.path = optarg; break;
        case 'P': option.protocol = optarg; break;
        case 'c': option.cookie = optarg; break;
        case 'm': option.mode = optarg; break;
        case 'n': option.members = atoi(optarg); break;
        case 'w': option.window = atoi(optarg); break;
        case 's':
            if (option.says_count == MAX_SAYS) exit(2);
            option.says[option.says_count++] = optarg;
            break;
        case 'e': option.expects = atoi(optarg); break;
        case 'b': option.publish = optarg; break;
        case 'l': option.payload = atoi(optarg); break;
        case 't': option.seconds = atof(optarg); break;
        case 'r': option.rate = atof(optarg); break;
        case 'k': option.cookies_file = optarg; break;
        case 'C': option.concurrency = atoi(optarg); break;
        case 'S': option.stalled = atoi(optarg); break;
        case 'E': option.events = atol(optarg); break;
        case 'F': option.fill = atol(optarg); break;
        case 'W': option.warmup_ms = atoi(optarg); break;
        case 'R': option.rejoin = optarg; break;
        case 'i': option.ping = optarg; break;
        case 'o': option.answer = optarg; break;
        case 'N': option.refusal = optarg; break;
        case 'H': option.heartbeat = atof(optarg); break;
        default: exit(2);
        }
    if (option.cookies_file) read_cookies();
    audience = !strcmp(option.mode, "audience");
    if (option.ping && !audience) ping_size = sprintf(ping_frame, "\x81%c%s", (char)strlen(option.ping), option.ping);
}

/* Print the marks of the moments between which the program that started this one reads the server's CPU. */
static void tell(const char *word) {
    printf("%s\n", word);
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) exit(1);
}

static void run_for(int64_t until, int64_t start) {
    double sent = 0;
    while (now_ns() < until && gone < option.members) {
        if (option.rate > 0) {
            double due = option.rate * (now_ns() - start) / 1e9;
            for (; sent < due; sent++) publish_at(&connections[0], start + (int64_t)(1e9 * sent / option.rate));
            pump(1);
        } else {
            pump(50);
        }
        if (option.events && published >= option.events) break;
    }
}

static void wait_for(int *counter, int wanted) {
    int64_t until = now_ns() + PATIENCE_SECONDS * 1000000000LL;
    while (*counter != wanted) {
        pump(1000);
        if (now_ns() > until) {
            fprintf(stderr, "only %d of %d after %d seconds\n", *counter, wanted, PATIENCE_SECONDS);
            exit(1);
        }
    }
}

/* Let every member say its ping once in a heartbeat, spread over it. */
static void keep_alive(void) {
    static int64_t begun;
    static long said;
    if (!begun) begun = now_ns();
    long due = (long)((now_ns() - begun) / 1e9 / option.heartbeat * option.members);
    for (; said < due; said++) {
        struct connection *c = &connections[said % option.members];
        if (c->state == MEMBER) say(c, option.ping, strlen(option.ping));
    }
}

static void answer_for(const char *what, double seconds, long missing) {
    qsort(ages, ages_count, sizeof *ages, by_size);
    printf("{\"%s\":%d,\"seconds\":%.4f,\"gone\":%d,\"missing\":%ld,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n", what, joined, seconds, gone, missing,
           percentile(.5), percentile(.99), percentile(1));
    fflush(stdout);
}

/* Hold the connections until the standard input ends. */
static void attend(void) {
    struct pollfd input = {.fd = 0, .events = POLLIN};
    char line[32];
    int64_t begun = now_ns();
    while (joined < option.members) pump(20), keep_alive();
    answer_for("joined", (now_ns() - begun) / 1e9, 0);
    for (;;) {
        pump(20), keep_alive();
        if (poll(&input, 1, 0) <= 0) continue;
        ssize_t n = read(0, line, sizeof line - 1);
        if (n <= 0) return;
        line[n] = 0;
        ages_count = 0, marks = 0, measuring = 1;
        long wanted = 2 * atol(line) * option.members;
        int64_t until = now_ns() + PATIENCE_SECONDS * 1000000000LL;
        begun = now_ns();
        printf("listening\n");
        fflush(stdout);
        while (marks < wanted && now_ns() < until && !gone) pump(20), keep_alive();
        measuring = 0;
        answer_for("heard", (now_ns() - begun) / 1e9, (wanted - marks + 1) / 2);
    }
}

static int callers(void) { return all_call() ? option.members : 1; }

static long requests(void) {
    long count = 0;
    for (int c = 0; c < callers(); c++) count += connections[c].sent;
    return count;
}

static long answered(void) {
    long count = refused;
    for (int c = 0; c < callers(); c++) count += connections[c].received / 2;
    return count;
}

/* Wait for the last answers; return how many are still missing when none has come for a while. */
static long unanswered(void) {
    int64_t latest = now_ns();
    long missing = requests() - answered(), before = missing;
    while (missing > 0 && gone < option.members && now_ns() < latest + LAST_ANSWER_SECONDS * 1000000000LL) {
        pump(50);
        missing = requests() - answered();
        if (missing < before) latest = now_ns();
        before = missing;
    }
    return missing > 0 ? missing : 0;
}

/* Wait until so many of a connection's own events have come back to it. */
static void wait_for_own(struct connection *c, long wanted) {
    int64_t until = now_ns() + PATIENCE_SECONDS * 1000000000LL;
    while (c->received / 2 < wanted) {
        pump(1000);
        if (!refused && now_ns() < until) continue;
        fprintf(stderr, "only %ld of %ld published events have come back\n", c->received / 2, c->sent);
        exit(EXIT_REFUSED);
    }
}

/* Events one after the other, with no more in flight than the window, until all have come back. */
static void publish_many(struct connection *c, long events) {
    for (long i = 0, got = c->received / 2; i < events; i++) {
        publish(c);
        wait_for_own(c, got + i + 1 - option.window);
    }
    wait_for_own(c, c->sent);
}

/* Publish large events, until the server must have noticed the clients that do not read. */
static void fill(void) {
    int payload = option.payload;
    option.payload = FILL_PAYLOAD;
    publish_many(connections, option.fill / FILL_PAYLOAD);
    option.payload = payload;
}

static double storm(void) {
    for (struct connection *c = connections + 1; c < connections + option.members; c++) {
        close(c->fd);
        *c = (struct connection){0};
    }
    struct connection *first = connections;
    publish_many(first, option.events);
    tell("measure");
    reconnecting = 1;
    behind = option.members - 1;
    joined = opened = 1;
    storm_began = now_ns();
    open_next();
    wait_for(&behind, 0);
    double elapsed = (now_ns() - storm_began) / 1e9;
    tell("measured");
    return elapsed;
}

int main(int argc, char **argv) {
    options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    connections = calloc(option.members, sizeof *connections);
    ages = malloc(SAMPLES * sizeof *ages);
    epoll_fd = epoll_create1(0);
    if (audience) {
        open_next();
        attend();
        return 0;
    }
    tell("start");
    int64_t begun = now_ns();
    double used = cpu_seconds();
    open_next();
    wait_for(&joined, option.members);
    double joining = (now_ns() - begun) / 1e9, joining_cpu = cpu_seconds() - used;
    tell("joined");
    double elapsed = 0, cpu = 0;
    long deliveries = 0, without_answer = 0;
    if (!strcmp(option.mode, "idle")) {
        tell("idle");
    } else if (!strcmp(option.mode, "storm")) {
        used = cpu_seconds();
        elapsed = storm();
        cpu = cpu_seconds() - used;
    } else {
        fill();
        int64_t start = now_ns();
        if (option.rate <= 0)
            for (int c = 0; c < callers(); c++)
                for (int i = 0; i < option.window; i++) publish(&connections[c]);
        run_for(start + option.warmup_ms * 1000000LL, start);
        tell("measure");
        measuring = 1;
        long before = published;
        used = cpu_seconds();
        start = now_ns();
        run_for(start + (int64_t)(option.seconds * 1e9), start);
        elapsed = (now_ns() - start) / 1e9;
        cpu = cpu_seconds() - used;
        deliveries = marks / 2;
        measuring = -1;
        published -= before;
        tell("measured");
        without_answer = unanswered();
    }
    qsort(ages, ages_count, sizeof *ages, by_size);
    printf("{\"members\":%d,\"joining_seconds\":%.4f,\"joining_busy\":%.3f,\"seconds\":%.4f,\"published\":%ld,\"deliveries\":%ld,\"answers\":%ld,"
           "\"requests\":%ld,\"refused\":%ld,\"unanswered\":%ld,"
           "\"bytes\":%ld,\"busy\":%.3f,\"gone\":%d,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"max_ms\":%.3f}\n",
           option.members, joining, joining_cpu / joining, elapsed, published, deliveries, answers, requests(), refused, without_answer, bytes, elapsed ? cpu / elapsed : 0, gone,
           percentile(.5), percentile(.99), percentile(.999), percentile(1));
    return 0;
}
