/* SPDX-License-Identifier: MIT */
/*
 * The hosts of the laboratory: each a network, a host name and a /run of its own, with cables to
 * the switch. Refuses to return a host that does not work yet.
 */
#include "lab.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

/*
 * A child in a host that waits: namespaces live, and can be opened by its number, until it is let
 * go.
 */
struct held {
	pid_t pid;
	int release;
};

static struct held lab_hold(const struct lab_host *h, void (*go_in)(const struct lab_host *h))
{
	int told[2], hold[2];
	struct held held;
	char c = 0;

	fflush(NULL);
	if (pipe2(told, O_CLOEXEC) < 0 || pipe2(hold, O_CLOEXEC) < 0 || (held.pid = fork()) < 0)
		lab_fail("host %s: %m", h->name);
	if (held.pid == 0) {
		lab_on_failure = NULL;
		close(hold[1]);
		go_in(h);
		_exit(write(told[1], &c, 1) != 1 || read(hold[0], &c, 1) < 0);
	}
	close(told[1]);
	close(hold[0]);
	if (read(told[0], &c, 1) != 1)
		lab_fail("host %s cannot be made or entered", h->name);
	close(told[0]);
	held.release = hold[1];
	return held;
}

static void lab_let_go(const struct held *held)
{
	close(held->release);
	waitpid(held->pid, NULL, 0);
}

/* The machine's values come with a new namespace for IPv4, so all that matters is said here. */
static void lab_host_settings(void)
{
	static const char *const settings[][3] = {
		{"ipv4", "promote_secondaries", "0"},  {"ipv4", "arp_notify", "0"},
		{"ipv4", "arp_ignore", "0"},           {"ipv4", "arp_announce", "0"},
		{"ipv4", "arp_accept", "0"},           {"ipv4", "rp_filter", "0"},
		{"ipv4", "forwarding", "0"},           {"ipv6", "disable_ipv6", "0"},
		{"ipv6", "accept_dad", "0"},           {"ipv6", "accept_ra", "0"},
		{"ipv6", "router_solicitations", "0"},
	};
	static const char *const which[] = {"all", "default"};
	char path[128];

	for (size_t i = 0; i < sizeof settings / sizeof *settings; i++)
		for (size_t j = 0; j < sizeof which / sizeof *which; j++) {
			snprintf(path, sizeof path, "/proc/sys/net/%s/conf/%s/%s", settings[i][0],
				 which[j], settings[i][1]);
			lab_write(path, settings[i][2]);
		}
}

/*
 * The host's view of files: PATH becomes FROM. A symbolic link into /run (systemd's) leads into the
 * host's own.
 */
static void lab_cover(const char *from, const char *path)
{
	char to[256];
	ssize_t n = readlink(path, to, sizeof to - 1);

	if (n > 0 && strstr(to, "run/") && access(path, F_OK) < 0) {
		to[n] = '\0';
		memmove(to, strstr(to, "run/") - 1, strlen(strstr(to, "run/") - 1) + 1);
		*strrchr(to, '/') = '\0';
		lab_mkdirs(to);
		lab_write(path, "");
	}
	lab_mount(from, path, NULL, MS_BIND, NULL);
}

static void lab_host_unshare(const struct lab_host *h)
{
	if (unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWUTS) < 0 ||
	    sethostname(h->name, strlen(h->name)) < 0)
		lab_fail("host %s: %m", h->name);
	lab_mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
	lab_mount(h->run, "/run", NULL, MS_BIND, NULL);
	lab_cover("/run/etc/hosts", "/etc/hosts");
	lab_cover("/run/etc/resolv.conf", "/etc/resolv.conf");
	lab_cover("/run/etc/nsswitch.conf", "/etc/nsswitch.conf");
	lab_host_settings();
}

static void lab_host_join(const struct lab_host *h)
{
	if (lab_enter(h) < 0)
		lab_fail("host %s: %m", h->name);
}

static int lab_open_of(pid_t pid, const char *what, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, what);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		lab_fail("%s: %m", path);
	return fd;
}

static void lab_host_spaces(struct lab_host *h)
{
	struct held held = lab_hold(h, lab_host_unshare);

	h->netns = lab_open_of(held.pid, "ns/net", O_RDONLY);
	h->mntns = lab_open_of(held.pid, "ns/mnt", O_RDONLY);
	h->utsns = lab_open_of(held.pid, "ns/uts", O_RDONLY);
	h->root = lab_open_of(held.pid, "root", O_PATH | O_DIRECTORY);
	lab_let_go(&held);
}

static void lab_host_log(struct lab_host *h)
{
	struct sockaddr_un sun = {.sun_family = AF_UNIX};

	lab_file(h, "systemd/journal/.dir", 0600, 0, " ");
	snprintf(sun.sun_path, sizeof sun.sun_path, "%s%s", h->run, &LAB_LOG[strlen("/run")]);
	h->log_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (h->log_fd < 0 || bind(h->log_fd, (struct sockaddr *)&sun, sizeof sun) < 0 ||
	    chmod(sun.sun_path, 0666) < 0)
		lab_fail("%s: %m", sun.sun_path);
}

static bool lab_link_works(struct lab_host *h, const char *dev, const char *port)
{
	return lab_sh(h, NULL, "ip link show dev %s | grep -q 'state UP'", dev) == 0 &&
	       lab_sh(NULL, NULL, "ip -d link show dev %s | grep -q 'state forwarding'", port) == 0;
}

/*
 * The cable: its end is made in the host by the number of a process there, since the namespace has
 * no name.
 */
static void lab_link(struct lab_host *h, const char *dev, const char *port, va_list ap)
{
	struct held held = lab_hold(h, lab_host_join);
	char addresses[1024] = "";
	size_t n = 0;

	for (const char *a; n < sizeof addresses && (a = va_arg(ap, const char *));)
		n += (size_t)snprintf(addresses + n, sizeof addresses - n,
				      "ip addr add %s dev %s && ", a, dev);
	if (n >= sizeof addresses)
		lab_fail("too many addresses for %s of host %s", dev, h->name);
	lab_must(NULL,
		 "ip link add name %s type veth peer name %s netns %d && ip link set dev %s master "
		 "br0 up",
		 port, dev, (int)held.pid, port);
	lab_let_go(&held);
	lab_must(h, "ip link set lo up && ip link set dev %s up && %s true", dev, addresses);
	if (!LAB_UNTIL(lab_link_works(h, dev, port), 5000))
		lab_fail("%s of host %s does not come up", dev, h->name);
}

/* The names of ports: interfaces have 15 letters at most. */
static void lab_port(char port[16], const struct lab_host *h, const char *dev)
{
	if (strcmp(dev, "eth0") == 0)
		snprintf(port, 16, "%s", h->name);
	else
		snprintf(port, 16, "%.9s.%.5s", h->name, dev);
}

struct lab_host *lab_host(const char *name, ...)
{
	struct lab_host *h = calloc(1, sizeof *h);
	va_list ap;

	if (!h)
		lab_fail("calloc: %m");
	h->netns = h->mntns = h->utsns = h->root = h->log_fd = -1;
	snprintf(h->name, sizeof h->name, "%s", name);
	snprintf(h->run, sizeof h->run, LAB_DIR "/%s", name);
	lab_must(NULL, "rm -rf %s", h->run);
	lab_file(h, "etc/hosts", 0644, 0, "127.0.0.1 localhost\n::1 localhost\n");
	lab_file(h, "etc/resolv.conf", 0644, 0, "# no name server\n");
	lab_file(h, "etc/nsswitch.conf", 0644, 0,
		 "passwd: files\ngroup: files\nhosts: files dns\n");
	lab_host_log(h);
	lab_host_spaces(h);
	va_start(ap, name);
	lab_link(h, "eth0", h->name, ap);
	va_end(ap);
	return h;
}

void lab_host_link(struct lab_host *h, const char *dev, ...)
{
	char port[16];
	va_list ap;

	lab_port(port, h, dev);
	va_start(ap, dev);
	lab_link(h, dev, port, ap);
	va_end(ap);
}

/* Found by their network namespace, so that detached children are found too. */
static int lab_signal(struct lab_host *h, int sig, pid_t *last)
{
	DIR *d = opendir("/proc");
	struct stat host, is;
	struct dirent *e;
	char path[300];
	int found = 0;

	if (!d || fstat(h->netns, &host) < 0)
		lab_fail("/proc: %m");
	while ((e = readdir(d))) {
		pid_t pid = atoi(e->d_name);

		snprintf(path, sizeof path, "/proc/%s/ns/net", e->d_name);
		if (pid > 0 && stat(path, &is) == 0 && is.st_ino == host.st_ino &&
		    kill(pid, sig) == 0) {
			found++;
			*last = pid;
		}
	}
	closedir(d);
	return found;
}

int lab_host_processes(struct lab_host *h, pid_t *one)
{
	pid_t unused;

	return lab_signal(h, 0, one ? one : &unused);
}

void lab_host_kill(struct lab_host *h)
{
	pid_t unused;

	/* Again while there are some: one may have forked meanwhile. */
	while (lab_signal(h, SIGKILL, &unused) > 0)
		lab_sleep_ms(1);
}

void lab_host_free(struct lab_host *h)
{
	if (!h)
		return;
	lab_host_kill(h);
	lab_sh(NULL, NULL,
	       "for i in $(ip -o link | grep -oE ' %s(\\.[a-z0-9]+)?@'); do ip link del dev "
	       "\"${i%%@}\"; done",
	       h->name);
	lab_log_clear(h);
	free(h->log);
	close(h->log_fd);
	close(h->netns);
	close(h->mntns);
	close(h->root);
	close(h->utsns);
	free(h);
}

void lab_carrier(struct lab_host *h, const char *dev, bool on)
{
	char port[16];

	lab_port(port, h, dev);
	lab_must(NULL, "ip link set dev %s %s", port, on ? "up" : "down");
}

void lab_cut(struct lab_host *h, bool cut)
{
	lab_must(NULL, "ip link set dev %s %s", h->name, cut ? "nomaster" : "master br0");
}

/* setns(2) makes the root of a mount namespace the root, which in a chroot(2) it was not. */
int lab_enter(const struct lab_host *h)
{
	if (setns(h->mntns, CLONE_NEWNS) < 0 || fchdir(h->root) < 0 || chroot(".") < 0 ||
	    setns(h->utsns, CLONE_NEWUTS) < 0 || setns(h->netns, CLONE_NEWNET) < 0)
		return -errno;
	return access("/run/etc/hosts", F_OK) < 0 ? -EXDEV : 0; /* the machine's /run, not the host's */
}

int lab_socket(const struct lab_host *h, int domain, int type, int protocol)
{
	int fd = -1;

	if (setns(h->netns, CLONE_NEWNET) == 0)
		fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (fd < 0 || setns(lab_netns, CLONE_NEWNET) < 0)
		lab_fail("a socket of host %s: %m", h->name);
	return fd;
}

const char *lab_file(struct lab_host *h, const char *path, mode_t mode, uid_t owner,
		     const char *fmt, ...)
{
	static char seen[128];
	char full[256], dir[256];
	va_list ap;
	FILE *f;

	snprintf(full, sizeof full, "%s/%s", h->run, path);
	snprintf(dir, sizeof dir, "%s", full);
	*strrchr(dir, '/') = '\0';
	lab_mkdirs(dir);
	f = fopen(full, "we"); /* in place: it may be mounted somewhere */
	if (!f)
		lab_fail("%s: %m", full);
	va_start(ap, fmt);
	vfprintf(f, fmt, ap);
	va_end(ap);
	if (fclose(f) < 0 || chown(full, owner, 0) < 0 || chmod(full, mode) < 0)
		lab_fail("%s: %m", full);
	snprintf(seen, sizeof seen, "/run/%s", path);
	return seen;
}
