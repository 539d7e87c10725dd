/* SPDX-License-Identifier: MIT */
/*
 * check: the interfaces that VIPs belong on, the kernel's settings for them, and who else
 * manages them.
 */
#include "vip.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { FILE_BYTES = 8192 };

/* A VIP that belongs on the link. */
struct guest {
	const struct facts *facts;	/* all addresses of this host */
	const struct vip *vip;
};

struct place {
	const struct link *link;
	struct guest *guests;
	size_t count;
	struct report *report;
};

static bool has_family(const struct place *place, sa_family_t family)
{
	for (size_t i = 0; i < place->count; i++)
		if (place->guests[i].vip->ip.family == family)
			return true;
	return false;
}

/* Settings of the kernel ----------------------------------------------- */

/* net.FAMILY.conf.LINK.NAME; `link` may be "all".  -errno where there is none. */
static int setting(const char *family, const char *link, const char *name)
{
	char path[256], text[32];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/sys/net/%s/conf/%s/%s", family, link, name);
	n = file_read(path, text, sizeof(text));
	return n < 0 ? (int)n : atoi(text);
}

/* IN_DEV_MAXCONF(), include/linux/inetdevice.h: the greater of the two counts. */
static int setting_max(const char *link, const char *name)
{
	int all = setting("ipv4", "all", name), own = setting("ipv4", link, name);

	return all > own ? all : own;
}

/* With slashes, since a dot may be part of the interface's name (sysctl(8)). */
static void remedy_setting(struct report *report, const char *family, const char *link,
			   const char *name, int value)
{
	report_remedy(report, "sysctl -w net/%s/conf/%s/%s=%d, and the same in /etc/sysctl.d/",
		      family, link, name, value);
}

static bool stands_short(const struct place *place)
{
	for (size_t n = 0; n < place->count; n++) {
		const struct guest *g = &place->guests[n];

		if (g->vip->ip.family == AF_INET && g->vip->prefixlen < 32)
			return true;
		for (size_t i = 0; i < g->facts->address_count; i++) {
			const struct address *a = &g->facts->addresses[i];

			if (a->ip.family == AF_INET && a->ifindex == place->link->ifindex &&
			    a->prefixlen < 32 && ip_equal(&a->ip, &g->vip->ip))
				return true;
		}
	}
	return false;
}

/*
 * This program puts back what the kernel takes along with a primary address; others
 * that delete the VIP do not.  A /32 has nobody to take along.
 */
static void check_promotion(const struct place *place)
{
	const char *name = place->link->name;

	if (!has_family(place, AF_INET))
		return;
	if (setting_max(name, "promote_secondaries") > 0) {
		report_add(place->report, LEVEL_OK, "secondaries", "promote_secondaries is on");
	} else if (!stands_short(place)) {
		report_add(place->report, LEVEL_OK, "secondaries",
			   "promote_secondaries is off, which is no matter to a VIP with /32");
	} else {
		report_add(place->report, LEVEL_WARNING, "secondaries",
			   "promote_secondaries is off: where a VIP is the first address of its "
			   "subnet, \"ip addr del\" by hand takes this host's own address along");
		remedy_setting(place->report, "ipv4", name, "promote_secondaries", 1);
	}
}

/* Whether an address of the link has both the VIP and its askers in its subnet. */
static bool is_covered(const struct guest *g, unsigned ifindex)
{
	for (size_t i = 0; i < g->facts->address_count; i++) {
		const struct address *a = &g->facts->addresses[i];

		if (a->ifindex == ifindex && a->prefixlen < 32 &&
		    ip_same_net(&a->ip, &g->vip->ip, a->prefixlen))
			return true;
	}
	return false;
}

/*
 * arp_ignore(), net/ipv4/arp.c.  0, 1, 3 and the reserved 4 to 7 answer for an address of
 * global scope that stands on the interface; 2 only to those in a subnet of it, and a
 * /32 has none of its own; 8 never.
 */
static void check_answers(const struct place *place)
{
	const char *name = place->link->name;
	int ignore = setting_max(name, "arp_ignore"), announce = setting_max(name, "arp_announce");
	const struct vip *mute = NULL;
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < place->count; i++)
		if (place->guests[i].vip->ip.family == AF_INET && (ignore == 8 ||
		    (ignore == 2 && !is_covered(&place->guests[i], place->link->ifindex))))
			mute = place->guests[i].vip;
	if (mute == NULL) {
		report_add(place->report, LEVEL_OK, "ARP",
			   "arp_ignore %d and arp_announce %d let it answer for its VIPs",
			   ignore, announce);
		return;
	}
	if (ignore == 8)
		report_add(place->report, LEVEL_ERROR, "ARP",
			   "arp_ignore is 8: nobody is ever answered, so %s is lost as soon as an "
			   "announcement is forgotten",
			   ip_text(&mute->ip, text));
	else
		report_add(place->report, LEVEL_ERROR, "ARP",
			   "arp_ignore is 2 and no address of %s has %s in its subnet: nobody is "
			   "answered",
			   name, ip_text(&mute->ip, text));
	remedy_setting(place->report, "ipv4",
		       setting("ipv4", name, "arp_ignore") == ignore ? name : "all", "arp_ignore",
		       1);
}

static void check_ipv6(const struct place *place)
{
	const char *name = place->link->name;
	int disabled = setting("ipv6", name, "disable_ipv6");

	if (!has_family(place, AF_INET6))
		return;
	if (disabled < 0) {
		report_add(place->report, LEVEL_ERROR, "IPv6",
			   "the kernel has no IPv6 on %s, but a VIP is of IPv6",
			   name);
		report_remedy(place->report, "ip link set %s mtu 1500, since IPv6 takes 1280 at least (RFC 8200 "
			      "section 5); or boot without ipv6.disable=1", name);
	} else if (disabled != 0) {
		report_add(place->report, LEVEL_ERROR, "IPv6",
			   "IPv6 is turned off on %s, but a VIP is of IPv6",
			   name);
		remedy_setting(place->report, "ipv6", name, "disable_ipv6", 0);
	} else {
		report_add(place->report, LEVEL_OK, "IPv6", "is on");
	}
}

/* A VIP on lo: this host answers for it everywhere, whoever is master. */
static void check_loopback(const struct place *place, const struct guest *g)
{
	int ignore = setting_max(place->link->name, "arp_ignore");
	char text[IP_TEXT_SIZE];

	for (size_t i = 0; i < g->facts->address_count; i++) {
		const struct address *a = &g->facts->addresses[i];
		const struct link *link = facts_link(g->facts, a->ifindex);

		if (a->ip.family != AF_INET || !ip_equal(&a->ip, &g->vip->ip) || link == NULL ||
		    (link->flags & IFF_LOOPBACK) == 0 || ignore == 1 || ignore == 2 || ignore == 8)
			continue;
		report_add(place->report, LEVEL_ERROR, "ARP",
			   "%s stands on %s, and with arp_ignore %d this host answers for it on %s "
			   "even when it is not the master",
			   ip_text(&a->ip, text), link->name, ignore, place->link->name);
		report_remedy(place->report,
			      "ip addr del %s/%u dev %s; or sysctl -w "
			      "net/ipv4/conf/all/arp_ignore=1 net/ipv4/conf/all/arp_announce=2",
			      text, a->prefixlen, link->name);
	}
}

/* Other managers ------------------------------------------------------- */

/* In files with a colon between them; the last word counts. */
static bool is_kept(char *files)
{
	static const char *const words[] = { "yes", "true", "on", "1", "static" };
	char text[FILE_BYTES], value[64], *save = NULL;
	bool kept = false;

	for (char *file = strtok_r(files, "\":", &save); file;
	     file = strtok_r(NULL, "\":", &save)) {
		const char *rest = text;

		if (file_read(file, text, sizeof(text)) < 0)
			continue;
		while ((rest = file_line(rest, "KeepConfiguration=", value, sizeof(value))) !=
		       NULL) {
			kept = false;
			for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
				kept = kept || strcmp(value, words[i]) == 0;
		}
	}
	return kept;
}

/* What sd_network_link_get_setup_state(3) and _get_network_file() read as well. */
static bool check_networkd(const struct place *place)
{
	char path[64], text[FILE_BYTES], state[32], file[512], dropins[512] = "", all[1030];
	const char *base;

	snprintf(path, sizeof(path), "/run/systemd/netif/links/%u", place->link->ifindex);
	if (file_read(path, text, sizeof(text)) < 0 ||
	    file_line(text, "ADMIN_STATE=", state, sizeof(state)) == NULL ||
	    strcmp(state, "unmanaged") == 0 ||
	    file_line(text, "NETWORK_FILE=", file, sizeof(file)) == NULL)
		return false;
	file_line(text, "NETWORK_FILE_DROPINS=", dropins, sizeof(dropins));
	snprintf(all, sizeof(all), "%s:%s", file, dropins);
	if (is_kept(all)) {
		report_add(place->report, LEVEL_OK, "managed by",
			   "systemd-networkd, which keeps addresses that it does not know "
			   "(KeepConfiguration)");
		return true;
	}
	base = strrchr(file, '/');
	base = base != NULL ? base + 1 : file;
	report_add(place->report, LEVEL_WARNING, "managed by",
		   "systemd-networkd, which takes addresses away that it does not know when it "
		   "restarts or reconfigures %s",
		   place->link->name);
	report_remedy(place->report, "KeepConfiguration=static under [Network] in "
		      "/etc/systemd/network/%s.d/sentinel-vip.conf, then networkctl reload", base);
	return true;
}

static bool check_networkmanager(const struct place *place)
{
	char path[64], text[FILE_BYTES], value[16];

	snprintf(path, sizeof(path), "/run/NetworkManager/devices/%u", place->link->ifindex);
	if (file_read(path, text, sizeof(text)) < 0 ||
	    file_line(text, "managed=", value, sizeof(value)) == NULL || strcmp(value, "true") != 0)
		return false;
	report_add(place->report, LEVEL_WARNING, "managed by",
		   "NetworkManager, which takes addresses away that it does not know when it "
		   "activates %s again",
		   place->link->name);
	report_remedy(
		place->report,
		"systemctl enable --now sentinel-vip-sync.timer, which puts the VIP back; or, "
		"where something else configures %s, unmanaged-devices=interface-name:%s under "
		"[keyfile] in /etc/NetworkManager/conf.d/sentinel-vip.conf",
		place->link->name, place->link->name);
	return true;
}

/* All of a link -------------------------------------------------------- */

static void check_state(const struct place *place)
{
	const struct link *link = place->link;

	if ((link->flags & IFF_UP) == 0) {
		report_add(place->report, LEVEL_ERROR, "interface", "%s is down", link->name);
		report_remedy(place->report, "ip link set %s up", link->name);
	} else if ((link->flags & IFF_LOWER_UP) == 0) {
		report_add(place->report, LEVEL_ERROR, "interface", "%s has no carrier",
			   link->name);
		report_remedy(place->report,
			      "look at the cable, the switch port, or the other end of %s",
			      link->name);
	} else if (!arp_works_on(link)) {
		report_add(place->report, LEVEL_WARNING, "interface",
			   "%s is not an Ethernet that does ARP: no VIP is announced there",
			   link->name);
		report_remedy(place->report,
			      "set interface = in %s, unless the network routes the VIP",
			      "the configuration");
	} else {
		report_add(place->report, LEVEL_OK, "interface", "%s is up, with carrier",
			   link->name);
	}
}

static void check_link(const struct place *place)
{
	report_add(place->report, LEVEL_TITLE, NULL, "Interface %s", place->link->name);
	check_state(place);
	check_promotion(place);
	if (has_family(place, AF_INET))
		check_answers(place);
	for (size_t i = 0; i < place->count; i++)
		check_loopback(place, &place->guests[i]);
	check_ipv6(place);
	if (!check_networkd(place) && !check_networkmanager(place))
		report_add(place->report, LEVEL_OK, "managed by",
			   "neither systemd-networkd nor NetworkManager");
}

/* All VIPs that belong on the link, of all masters; false without memory. */
static bool find_guests(const struct survey *survey, struct place *place)
{
	size_t total = 0;

	for (size_t i = 0; i < survey->count; i++)
		total += survey->states[i].run.master->vip_count;
	place->guests = calloc(total + 1, sizeof(*place->guests));
	for (size_t i = 0; place->guests != NULL && i < survey->count; i++)
		for (size_t j = 0; j < survey->states[i].run.master->vip_count; j++) {
			const struct sighting *s = &survey->states[i].sightings[j];

			if (s->link != NULL && s->link->ifindex == place->link->ifindex)
				place->guests[place->count++] =
					(struct guest){ &survey->states[i].run.facts, s->vip };
		}
	return place->guests != NULL;
}

void check_links(const struct survey *survey, struct report *report)
{
	for (size_t i = 0; i < survey->count; i++)
		for (size_t j = 0; j < survey->states[i].run.master->vip_count; j++) {
			const struct sighting *s = &survey->states[i].sightings[j];
			struct place place = { .link = s->link, .report = report };

			if (s->link == NULL)
				continue;
			if (!find_guests(survey, &place))
				report->incomplete = true;
			else if (place.guests[0].vip == s->vip)		/* once for each link */
				check_link(&place);
			free(place.guests);
		}
}
