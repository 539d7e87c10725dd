/* SPDX-License-Identifier: MIT */
/*
 * libmnl where there is no archive of it to be linked in: loaded with the first of its functions
 * that is called, since no announcement waits for it then.  Linked in place of the library (see
 * the Makefile), under the names of its header, so that diag.c knows nothing of it.  A
 * socket cannot be opened without the library, with ELIBACC; the rest needs a socket.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <stdlib.h>

static void *find(const char *name)
{
	static void *library;	/* never given back */

	if (library == NULL)
		library = dlopen("libmnl.so.0", RTLD_NOW | RTLD_LOCAL);
	return library != NULL ? dlsym(library, name) : NULL;
}

#define IMPORT(type, name, parameters, arguments)				\
	type name parameters							\
	{									\
		static type (*real) parameters;					\
										\
		if (real == NULL)						\
			real = (type (*) parameters)find(#name);		\
		if (real == NULL)						\
			abort();						\
		return real arguments;						\
	}

struct mnl_socket *mnl_socket_open2(int bus, int flags)
{
	struct mnl_socket *(*real)(int, int) = (struct mnl_socket *(*)(int, int))find(__func__);

	if (real == NULL) {
		errno = ELIBACC;
		return NULL;
	}
	return real(bus, flags);
}

void mnl_attr_put(struct nlmsghdr *message, uint16_t type, size_t size, const void *data)
{
	void (*real)(struct nlmsghdr *, uint16_t, size_t, const void *) =
		(void (*)(struct nlmsghdr *, uint16_t, size_t, const void *))find(__func__);

	if (real == NULL)
		abort();
	real(message, type, size, data);
}

IMPORT(int, mnl_socket_bind, (struct mnl_socket *sk, unsigned groups, pid_t pid), (sk, groups, pid))
IMPORT(int, mnl_socket_close, (struct mnl_socket *sk), (sk))
IMPORT(int, mnl_socket_get_fd, (const struct mnl_socket *sk), (sk))
IMPORT(ssize_t, mnl_socket_sendto, (const struct mnl_socket *sk, const void *bytes, size_t size),
       (sk, bytes, size))
IMPORT(ssize_t, mnl_socket_recvfrom, (const struct mnl_socket *sk, void *bytes, size_t size),
       (sk, bytes, size))
IMPORT(struct nlmsghdr *, mnl_nlmsg_put_header, (void *bytes), (bytes))
IMPORT(void *, mnl_nlmsg_put_extra_header, (struct nlmsghdr *message, size_t size), (message, size))
IMPORT(bool, mnl_nlmsg_ok, (const struct nlmsghdr *message, int left), (message, left))
IMPORT(struct nlmsghdr *, mnl_nlmsg_next, (const struct nlmsghdr *message, int *left),
       (message, left))
IMPORT(void *, mnl_nlmsg_get_payload, (const struct nlmsghdr *message), (message))
IMPORT(void *, mnl_nlmsg_get_payload_offset, (const struct nlmsghdr *message, size_t offset),
       (message, offset))
IMPORT(void *, mnl_nlmsg_get_payload_tail, (const struct nlmsghdr *message), (message))
IMPORT(size_t, mnl_nlmsg_get_payload_len, (const struct nlmsghdr *message), (message))
IMPORT(uint16_t, mnl_attr_get_type, (const struct nlattr *attribute), (attribute))
IMPORT(uint8_t, mnl_attr_get_u8, (const struct nlattr *attribute), (attribute))
IMPORT(bool, mnl_attr_ok, (const struct nlattr *attribute, int left), (attribute, left))
IMPORT(struct nlattr *, mnl_attr_next, (const struct nlattr *attribute), (attribute))
IMPORT(int, mnl_attr_validate, (const struct nlattr *attribute, enum mnl_attr_data_type type),
       (attribute, type))
