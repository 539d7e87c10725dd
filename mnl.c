/* SPDX-License-Identifier: MIT */
/*
 * libmnl where there is no archive of it to be linked in: loaded, with all of its functions that
 * are called, when the first socket is opened, since no announcement waits for it then.  Linked in
 * place of the library (see the Makefile), under the names of its header, so that diag.c knows nothing
 * of it.  A socket cannot be opened without the whole library, with ELIBACC; the rest needs a socket.
 */
#include <dlfcn.h>
#include <errno.h>
#include <libmnl/libmnl.h>

/* F(what is done with the result, its type, name, parameters, arguments) */
#define FUNCTIONS(F)								\
	F(return, int, mnl_socket_bind,						\
	  (struct mnl_socket *sk, unsigned groups, pid_t pid), (sk, groups, pid))	\
	F(return, int, mnl_socket_close, (struct mnl_socket *sk), (sk))		\
	F(return, int, mnl_socket_get_fd, (const struct mnl_socket *sk), (sk))	\
	F(return, ssize_t, mnl_socket_sendto,					\
	  (const struct mnl_socket *sk, const void *bytes, size_t size), (sk, bytes, size)) \
	F(return, ssize_t, mnl_socket_recvfrom,					\
	  (const struct mnl_socket *sk, void *bytes, size_t size), (sk, bytes, size)) \
	F(return, struct nlmsghdr *, mnl_nlmsg_put_header, (void *bytes), (bytes))	\
	F(return, void *, mnl_nlmsg_put_extra_header,				\
	  (struct nlmsghdr *message, size_t size), (message, size))		\
	F(return, bool, mnl_nlmsg_ok, (const struct nlmsghdr *message, int left), (message, left)) \
	F(return, struct nlmsghdr *, mnl_nlmsg_next,				\
	  (const struct nlmsghdr *message, int *left), (message, left))		\
	F(return, void *, mnl_nlmsg_get_payload, (const struct nlmsghdr *message), (message)) \
	F(return, void *, mnl_nlmsg_get_payload_offset,				\
	  (const struct nlmsghdr *message, size_t offset), (message, offset))	\
	F(return, void *, mnl_nlmsg_get_payload_tail, (const struct nlmsghdr *message), (message)) \
	F(return, size_t, mnl_nlmsg_get_payload_len, (const struct nlmsghdr *message), (message)) \
	F(, void, mnl_attr_put,							\
	  (struct nlmsghdr *message, uint16_t type, size_t size, const void *data), \
	  (message, type, size, data))						\
	F(return, uint16_t, mnl_attr_get_type, (const struct nlattr *attribute), (attribute)) \
	F(return, uint8_t, mnl_attr_get_u8, (const struct nlattr *attribute), (attribute)) \
	F(return, bool, mnl_attr_ok, (const struct nlattr *attribute, int left), (attribute, left)) \
	F(return, struct nlattr *, mnl_attr_next, (const struct nlattr *attribute), (attribute)) \
	F(return, int, mnl_attr_validate,					\
	  (const struct nlattr *attribute, enum mnl_attr_data_type type), (attribute, type))

#define MEMBER(result, type, name, parameters, arguments) type (*name) parameters;
static struct {
	struct mnl_socket *(*mnl_socket_open2)(int bus, int flags);
	FUNCTIONS(MEMBER)
} real;

/* One of them missing, as in a library that is broken or another one, is found before it is needed. */
#define FIND(result, type, name, parameters, arguments)				\
	real.name = (type (*) parameters)dlsym(library, #name);			\
	whole = whole && real.name != NULL;

static bool load(void)
{
	static bool whole;
	static void *library;	/* never given back */

	if (whole)
		return true;
	if (library == NULL)
		library = dlopen("libmnl.so.0", RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return false;
	whole = true;
	FIND(return, struct mnl_socket *, mnl_socket_open2, (int bus, int flags), )
	FUNCTIONS(FIND)
	return whole;
}

struct mnl_socket *mnl_socket_open2(int bus, int flags)
{
	if (!load()) {
		errno = ELIBACC;
		return NULL;
	}
	return real.mnl_socket_open2(bus, flags);
}

#define DEFINE(result, type, name, parameters, arguments)			\
	type name parameters							\
	{									\
		result real.name arguments;					\
	}

FUNCTIONS(DEFINE)
