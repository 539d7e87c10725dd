/* SPDX-License-Identifier: MIT */
/* Plans carried out in a real kernel: what is done, read back, printed and said. */
#include "unit.h"

#include "lab.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct netlink *netlink;
static struct vip vips[2];
static struct master master;
static struct config config;
static struct facts facts;
static struct plan plan;
static struct outcome outcome;
static struct why why;

static int begin(void **state)
{
	(void)state;
	lab_must(NULL, "ip addr flush dev eth0 && ip addr add 10.0.0.1/24 dev eth0 && "
		       "ip addr add fd00::1/64 dev eth0 nodad");
	vips[0] = (struct vip){ .ip = unit_ip("10.0.0.250"), .prefixlen = 32 };
	vips[1] = (struct vip){ .ip = unit_ip("fd00::250"), .prefixlen = 128 };
	master = (struct master){ .name = "m", .interface = "eth0", .vips = vips, .vip_count = 1 };
	config = (struct config){ .masters = &master, .master_count = 1 };
	outcome = (struct outcome){ 0 };
	why = (struct why){ "" };
	fault_keep_frames = true;
	return netlink_open(clock_ms() + 5000, &netlink);
}

static int finish(void **state)
{
	plan_free(&plan);
	facts_free(&facts);
	netlink_close(&netlink);
	return fault_clear(state);
}

/* What a run does between its configuration and its announcer. */
static void make_plan(bool here)
{
	struct truth truth = { .where = here ? TRUTH_HERE : TRUTH_ELSEWHERE };

	plan_free(&plan);
	facts_free(&facts);
	assert_int_equal(facts_gather(netlink, &config, &master, NULL, 0, &facts), 0);
	if (plan_make(&config, &master, &truth, &facts, &plan, &why) < 0)
		fail_msg("%s", why.text);
}

static int apply(bool here)
{
	make_plan(here);
	outcome = (struct outcome){ 0 };
	why.text[0] = '\0';
	return apply_plan(netlink, 99, &plan, &outcome, &why);
}

static bool timed(const char *name)
{
	for (unsigned i = 0; i < outcome.lap_count; i++)
		if (strcmp(outcome.laps[i].name, name) == 0)
			return outcome.laps[i].ms >= 0;
	return false;
}

static void a_claim_and_a_release_are_told(void **state)
{
	struct lab_result r;

	(void)state;
	master.vip_count = 2;
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text, "claimed 10.0.0.250 on eth0, fd00::250 on eth0");
	assert_string_equal(outcome.warning.text, "");
	assert_true(timed("add") && timed("announce") && timed("verify"));
	assert_false(timed("delete"));
	assert_int_equal(fault_frame_count, 3);
	lab_sh(NULL, &r, "ip -o addr show dev eth0 | grep -cE '10.0.0.250/32|fd00::250/128'");
	assert_string_equal(r.out, "2\n");
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text, "announced 10.0.0.250 on eth0, fd00::250 on eth0");
	assert_false(timed("add"));
	assert_int_equal(fault_frame_count, 6);
	lab_must(NULL, "ip addr del fd00::250/128 dev eth0");
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text,
			    "announced 10.0.0.250 on eth0; claimed fd00::250 on eth0");
	assert_int_equal(apply(false), 0);
	assert_string_equal(outcome.done.text,
			    "released 10.0.0.250 from eth0, fd00::250 from eth0");
	assert_true(timed("delete") && timed("verify"));
	assert_int_equal(fault_frame_count, 9);
	assert_int_equal(apply(false), 0);
	assert_string_equal(outcome.done.text, "");
}

/* A person added it a moment ago, and detection is still under way: it is made usable. */
static void a_tentative_address_is_replaced(void **state)
{
	struct lab_result r;

	(void)state;
	vips[0] = vips[1];
	lab_must(NULL, "echo 1 >/proc/sys/net/ipv6/conf/all/accept_dad; "
		       "echo 1 >/proc/sys/net/ipv6/conf/eth0/accept_dad; "
		       "ip addr add fd00::250/128 dev eth0");
	make_plan(true);
	assert_int_equal(plan.steps[0].kind, STEP_DELETE);
	if (apply_plan(netlink, 99, &plan, &outcome, &why) < 0)
		fail_msg("%s", why.text);
	lab_sh(NULL, &r, "ip -o addr show dev eth0 to fd00::250");
	expect_text(r.out, "deprecated");
	assert_null(strstr(r.out, "tentative"));
	lab_must(NULL, "echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; "
		       "echo 0 >/proc/sys/net/ipv6/conf/eth0/accept_dad");
}

/* The local route of fd00::250, which does not show in so many messages. */
static unsigned hidden, shown;
static uint32_t older_cs;

static void hide_route(struct nlmsghdr *message, bool peek)
{
	struct ifaddrmsg *address = NLMSG_DATA(message);
	struct rtmsg *route = NLMSG_DATA(message);
	struct ip ip = unit_ip("fd00::250");
	struct ifa_cacheinfo *info = NULL;
	bool ours = false;
	int left;

	if (message->nlmsg_type == RTM_NEWADDR && address->ifa_family == AF_INET6) {
		left = (int)IFA_PAYLOAD(message);
		for (struct rtattr *a = IFA_RTA(address); RTA_OK(a, left); a = RTA_NEXT(a, left))
			if (a->rta_type == IFA_CACHEINFO)
				info = RTA_DATA(a);
		if (info != NULL && !peek)
			info->cstamp -= older_cs;
	}
	if (message->nlmsg_type != RTM_NEWROUTE || route->rtm_family != AF_INET6 ||
	    route->rtm_type != RTN_LOCAL)
		return;
	left = (int)RTM_PAYLOAD(message);
	for (struct rtattr *a = RTM_RTA(route); RTA_OK(a, left); a = RTA_NEXT(a, left))
		ours = ours || (a->rta_type == RTA_DST && memcmp(RTA_DATA(a), ip.bytes, 16) == 0);
	if (!ours)
		return;
	if (hidden > 0)
		route->rtm_type = RTN_UNICAST;
	if (peek)
		return;
	shown++;
	hidden -= hidden > 0;
}

/* What the plan begins with where the address stands already and its route hides for so long. */
static enum step_kind first_step(unsigned messages, uint32_t age_cs)
{
	lab_must(NULL, "ip addr replace fd00::250/128 dev eth0 nodad");
	assert_true(LAB_UNTIL(lab_sh(NULL, NULL, "ip -6 route show table local | grep -q fd00::250") == 0,
			      5000));
	vips[0] = vips[1];
	hidden = messages;
	shown = 0;
	older_cs = age_cs;
	fault_on_message = hide_route;
	make_plan(true);
	fault_on_message = NULL;
	return plan.steps[0].kind;
}

/* The kernel gives it its route a moment later; until then it looks as if a release had been killed. */
static void a_new_address_is_given_a_moment(void **state)
{
	(void)state;
	assert_int_equal(first_step(0, 0), STEP_ANNOUNCE);
	assert_int_equal(shown, 1);
	assert_int_equal(first_step(4, 0), STEP_ANNOUNCE);
	assert_int_equal(hidden, 0);
}

static void one_without_a_route_is_put_there_anew(void **state)
{
	double begun = clock_ms();

	(void)state;
	assert_int_equal(first_step(1000, 0), STEP_DELETE);
	assert_in_range(shown, 4, 40);
	assert_true(clock_ms() - begun < 2000);
	/* that is not new; a look is two messages */
	assert_int_equal(first_step(1000, 10000), STEP_DELETE);
	assert_int_equal(shown, 2);
}

static int say_error;

static void spoil_acknowledgement(struct nlmsghdr *message, bool peek)
{
	struct nlmsgerr *answer = NLMSG_DATA(message);

	(void)peek;
	if (message->nlmsg_type == NLMSG_ERROR)
		answer->error = -say_error;
}

static void laps_are_counted_up_to_a_limit(void **state)
{
	(void)state;
	outcome.lap_ms = clock_ms();
	lab_sleep_ms(3);
	outcome_step(&outcome, "one");
	assert_true(outcome.laps[0].ms >= 3 && outcome.laps[0].ms < 500);
	assert_true(outcome_lap(&outcome) < outcome.laps[0].ms);
	for (int i = 0; i < 2 * LAPS_MAX; i++)
		outcome_step(&outcome, "more");
	assert_int_equal(outcome.lap_count, LAPS_MAX);
	assert_string_equal(outcome.laps[0].name, "one");
}

/* What to do is in the line, not only what went wrong. */
static void the_kernels_errors_are_explained(void **state)
{
	static const struct {
		int error;
		const char *says;
	} cases[] = {
		{ EPERM, "may not add 10.0.0.250 on eth0: CAP_NET_ADMIN is missing" },
		{ EACCES, "net.ipv6.conf.eth0.disable_ipv6" },
		{ ENODEV, "interface eth0 has just gone away" },
		{ EBUSY, "the kernel stayed busy" },
		{ ENOBUFS, "the kernel stayed busy" },
		{ EINVAL, "cannot add 10.0.0.250 on eth0: Invalid argument" },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		make_plan(true);
		netlink_close(&netlink);
		assert_int_equal(netlink_open(clock_ms() + 50, &netlink), 0);
		say_error = cases[i].error;
		fault_on_message = spoil_acknowledgement;
		assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -cases[i].error);
		fault_on_message = NULL;
		expect_text(why.text, cases[i].says);
		assert_string_equal(outcome.done.text, "");
		assert_int_equal(fault_frame_count, 0); /* nothing is announced that failed */
		lab_must(NULL, "ip addr flush dev eth0 to 10.0.0.250");
	}
}

/* Of many the first is named. */
static void announcements_that_fail_are_one_warning(void **state)
{
	(void)state;
	master.vip_count = 2;
	make_plan(true);
	fault_set(FAULT_SENDTO, 0, 99, ENOBUFS);
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), 0);
	assert_string_equal(outcome.warning.text, "; 10.0.0.250 was not announced on eth0 yet: No buffer space "
			    "available; likewise 1 more");
	fault_clear(NULL);
	assert_int_equal(apply(false), 0);
}

static void an_announcement_that_fails_is_a_warning(void **state)
{
	(void)state;
	fault_set(FAULT_SENDTO, 0, 2, ENETDOWN);
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text, "claimed 10.0.0.250 on eth0");
	assert_string_equal(outcome.warning.text,
			    "; 10.0.0.250 was not announced on eth0 yet: Network is down");
}

static const char *interference;

/* Something else acts between our change and our look. */
static void interfere(struct nlmsghdr *message, bool peek)
{
	if (message->nlmsg_type != NLMSG_ERROR || peek || interference == NULL)
		return;
	lab_must(NULL, "%s", interference);
	interference = NULL;
}

/* The same once the VIP has lost its prefix. */
static void interfere_late(struct nlmsghdr *message, bool peek)
{
	if (lab_sh(NULL, NULL, "ip addr show dev eth0 | grep -q 10.0.0.250/24") != 0)
		interfere(message, peek);
}

static void what_others_undo_is_told(void **state)
{
	(void)state;
	fault_on_message = interfere;
	make_plan(true);
	interference = "ip addr del 10.0.0.250/32 dev eth0";
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EIO);
	expect_text(why.text, "10.0.0.250 was added to eth0 and is gone again");
	assert_int_equal(apply(true), 0);
	make_plan(false);
	interference = "ip addr add 10.0.0.250/24 dev eth0";
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EIO);
	expect_text(why.text, "10.0.0.250 was deleted from eth0 and is there again");
	assert_int_equal(apply(false), 0);
}

/* The VIP stands before the host's own address: a person's copy, or a lease that was renewed. */
static void lead(void)
{
	lab_must(NULL, "ip addr flush dev eth0 && ip addr add 10.0.0.250/24 dev eth0 && "
		       "ip addr add 10.0.0.1/24 dev eth0");
}

static void a_vip_that_leads_is_narrowed(void **state)
{
	struct unit_capture capture;
	struct lab_result r;

	(void)state;
	lead();
	make_plan(true);
	unit_capture_begin(&capture, STDOUT_FILENO);
	assert_int_equal(apply_print(&master, &plan, ""), 0);
	assert_string_equal(unit_capture_end(&capture), "m: claim\n"
			    "  would narrow 10.0.0.250/24 on eth0 to /32\n"
			    "  would announce 10.0.0.250/32 on eth0\n");
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text, "narrowed 10.0.0.250 on eth0 to /32; announced 10.0.0.250 on eth0");
	assert_true(timed("narrow") && timed("verify"));
	assert_false(timed("add") || timed("delete"));
	lab_sh(NULL, &r, "ip -4 -o addr show dev eth0 | sed 's/.*inet \\([^ ]*\\).*global \\([a-z]*\\).*/\\1 \\2/' | sort; "
			 "ip route show 10.0.0.0/24 | grep -o 'src.*[0-9]'");
	assert_string_equal(r.out, "10.0.0.1/24 eth\n10.0.0.250/32 eth\nsrc 10.0.0.1\n");
	/* killed between its two halves: both stand, and one more run is enough */
	lead();
	lab_must(NULL, "ip addr add 10.0.0.250/32 dev eth0");
	assert_int_equal(apply(true), 0);
	assert_int_equal(lab_sh(NULL, NULL, "ip addr show dev eth0 | grep -q 10.0.0.250/24"), 1);
	assert_int_equal(lab_sh(NULL, NULL, "ip addr show dev eth0 | grep -q 10.0.0.250/32"), 0);
	/* neither half is left out in silence */
	lead();
	for (unsigned n = 0; n < 2; n++) {
		make_plan(true);
		fault_set(FAULT_SENDMSG, n * 2, 1, EPERM);	/* the second one is a look */
		assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EPERM);
		expect_text(why.text, "may not narrow 10.0.0.250 on eth0: CAP_NET_ADMIN is missing");
		assert_int_equal(lab_sh(NULL, NULL, "ip addr show dev eth0 | grep -q 10.0.0.250/24"), 0);
	}
	fault_on_message = interfere;
	make_plan(true);
	interference = "ip addr add 10.0.0.250/25 dev eth0";	/* is nobody's */
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), 0);
	lead();
	make_plan(true);
	fault_on_message = interfere_late;
	interference = "ip addr del 10.0.0.250/32 dev eth0";
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EIO);
	expect_text(why.text, "10.0.0.250 was added to eth0 and is gone again");
	lead();
	make_plan(true);
	interference = "ip addr add 10.0.0.250/24 dev eth0";
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EIO);
	expect_text(why.text, "10.0.0.250/24 was deleted from eth0 and is there again");
}

/* A failure in the middle: what was done before it is still told. */
static void what_was_done_before_a_failure_is_told(void **state)
{
	(void)state;
	master.vip_count = 2;
	make_plan(true);
	fault_set(FAULT_SENDMSG, 1, 1, EPERM);
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EPERM);
	assert_string_equal(outcome.done.text, "claimed 10.0.0.250 on eth0");
	expect_text(why.text, "may not add fd00::250 on eth0");
	assert_int_equal(apply(true), 0);
	assert_string_equal(outcome.done.text,
			    "announced 10.0.0.250 on eth0; claimed fd00::250 on eth0");
}

static void it_is_read_back_or_it_failed(void **state)
{
	(void)state;
	make_plan(true);
	fault_set(FAULT_SENDMSG, 1, 1, EPERM);
	assert_int_equal(apply_plan(netlink, 99, &plan, &outcome, &why), -EPERM);
	expect_text(why.text, "cannot read the addresses back");
}

static void a_plan_is_printed(void **state)
{
	struct unit_capture capture;

	(void)state;
	master.vip_count = 2;
	lab_must(NULL, "ip addr add 10.0.0.250/24 dev eth0");
	make_plan(false);
	unit_capture_begin(&capture, STDOUT_FILENO);
	assert_int_equal(apply_print(&master, &plan, "the cat wants it"), 0);
	assert_string_equal(unit_capture_end(&capture), "m: release: the cat wants it\n"
			    "  would delete 10.0.0.250/24 from eth0\n");
	make_plan(true);
	unit_capture_begin(&capture, STDOUT_FILENO);
	assert_int_equal(apply_print(&master, &plan, ""), 0);
	assert_string_equal(unit_capture_end(&capture), "m: claim\n"
			    "  would announce 10.0.0.250/32 on eth0\n"
			    "  would add fd00::250/128 on eth0\n"
			    "  would announce fd00::250/128 on eth0\n");
	lab_must(NULL, "ip addr del 10.0.0.250/24 dev eth0");
	make_plan(false);
	unit_capture_begin(&capture, STDOUT_FILENO);
	assert_int_equal(apply_print(&master, &plan, ""), 0);
	assert_string_equal(unit_capture_end(&capture), "m: release\n  nothing to do\n");
	assert_int_equal(fault_frame_count, 0);
}

/* In a child, whose standard output is full, buffered in each of the three ways. */
static void a_plan_that_cannot_be_printed_is_an_error(void **state)
{
	static const int modes[] = { _IOFBF, _IOLBF, _IONBF };

	(void)state;
	make_plan(true);
	for (size_t i = 0; i < COUNT(modes); i++) {
		int status;
		pid_t child;

		fflush(NULL);
		child = fork();
		if (child == 0) {
			int err;

			if (freopen("/dev/full", "w", stdout) == NULL ||
			    setvbuf(stdout, NULL, modes[i], 4096) != 0)
				_exit(200);
			err = apply_print(&master, &plan, "");
			_exit(err < 0 ? 1 : 0);
		}
		status = lab_wait(child, 2000);
		if (status != 1)
			fail_msg("buffered in way %zu: the error was lost (%d)", i, status);
	}
}

#define test(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int unit_apply_tests(void)
{
	static const struct CMUnitTest tests[] = {
		test(a_claim_and_a_release_are_told),
		test(a_tentative_address_is_replaced),
		test(a_new_address_is_given_a_moment),
		test(one_without_a_route_is_put_there_anew),
		test(laps_are_counted_up_to_a_limit),
		test(the_kernels_errors_are_explained),
		test(an_announcement_that_fails_is_a_warning),
		test(announcements_that_fail_are_one_warning),
		test(what_others_undo_is_told),
		test(a_vip_that_leads_is_narrowed),
		test(what_was_done_before_a_failure_is_told),
		test(it_is_read_back_or_it_failed),
		test(a_plan_is_printed),
		test(a_plan_that_cannot_be_printed_is_an_error),
	};

	return cmocka_run_group_tests_name("apply", tests, NULL, NULL);
}
