/* vio fs: folders shared with virtual machines over vhost-user. */
#include "control.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vio/device/fs.h>
#include <vio/host/tree.h>

enum {
	SHARED_DIR = VIO_OPT_COMMON, TAG, CACHE, WRITEBACK, XATTR, ACL, LOCKS, SUBMOUNTS, FILE_HANDLES, READ_ONLY, DEVICES,
	UID_MAP, GID_MAP, SQUASH, NUM_QUEUES, QUEUE_SIZE, THREADS, POLL_US, POOL, MAX_NODES, MAX_HANDLES, MAX_DESCRIPTORS, MAX_OWNERS,
	END
};
enum { SLOT_FOLDER = 2 };

static const struct vio_opt options[END - VIO_OPT_COMMON] = {
	[SHARED_DIR - VIO_OPT_COMMON] = { "shared-dir", "FOLDER", VIO_OPT_TEXT, VIO_OPT_PLACE, 1, 4095, .slot = SLOT_FOLDER,
		.help = "The folder to share, with everything below it." },
	[TAG - VIO_OPT_COMMON] = { "tag", "NAME", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, VIO_FS_TAG,
		.help = "What the guest mounts it by, where the front end does not say (QEMU does); \"vio\"." },
	[CACHE - VIO_OPT_COMMON] = { "cache", "auto|never|always", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "What the guest may believe: names and attributes for a second and contents of unchanged files (auto, the default), "
		        "nothing (never), or everything (always: nobody else changes the folder)." },
	[WRITEBACK - VIO_OPT_COMMON] = { "writeback", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "The guest may keep what is written and write it later." },
	[XATTR - VIO_OPT_COMMON] = { "xattr", "on|off|map", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Extended attributes: user.*, security.capability and ACLs as they are (on, the default), none (off), or all, those that "
		        "are the host's affair kept as user.virtiofs.* (map)." },
	[ACL - VIO_OPT_COMMON] = { "acl", "on|off", VIO_OPT_CHOICE, VIO_OPT_DEVICE, .help = "POSIX ACLs; on." },
	[LOCKS - VIO_OPT_COMMON] = { "locks", "on|off", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Locks hold for the host and other guests too (on, the default), or only among the guest's own programs (off)." },
	[SUBMOUNTS - VIO_OPT_COMMON] = { "submounts", "on|off", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Other file systems mounted below the folder are shared too, as mounts of their own (on, the default), or refused (off)." },
	[FILE_HANDLES - VIO_OPT_COMMON] = { "file-handles", "on|off", VIO_OPT_CHOICE, VIO_OPT_DEVICE,
		.help = "Find files again by the kernel's file handles where it grants them (on, the default), or by their names only (off)." },
	[READ_ONLY - VIO_OPT_COMMON] = { "read-only", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE, .help = "The guest can change nothing." },
	[DEVICES - VIO_OPT_COMMON] = { "allow-devices", NULL, VIO_OPT_FLAG, VIO_OPT_DEVICE,
		.help = "The guest may make device nodes, which other users of the host could open." },
	[UID_MAP - VIO_OPT_COMMON] = { "uid-map", "GUEST:HOST:COUNT[,...]", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 700,
		.help = "Which users of the guest are which on the host; as root, the same unless given; as another user, the guest's root is "
		        "that user and nobody else there can create files." },
	[GID_MAP - VIO_OPT_COMMON] = { "gid-map", "GUEST:HOST:COUNT[,...]", VIO_OPT_TEXT, VIO_OPT_DEVICE, 1, 700,
		.help = "The same for groups." },
	[SQUASH - VIO_OPT_COMMON] = { "squash", "UID:GID", VIO_OPT_TEXT, VIO_OPT_DEVICE, 3, 21,
		.help = "Whoever creates a file in the guest, it belongs to this user and group of the host." },
	[NUM_QUEUES - VIO_OPT_COMMON] = { "num-queues", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, VIO_DEV_QUEUES - 1, 4,
		.help = "Request queues that the guest may use; 4." },
	[QUEUE_SIZE - VIO_OPT_COMMON] = { "queue-size", "N", VIO_OPT_POWER, VIO_OPT_DEVICE, 4, 32768, 1024,
		.help = "Entries a queue may have; 1024." },
	[THREADS - VIO_OPT_COMMON] = { "threads", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 1, 64, 1,
		.help = "Threads that the queues are spread over; 1." },
	[POLL_US - VIO_OPT_COMMON] = { "poll-us", "N", VIO_OPT_NUMBER, VIO_OPT_PROCESS, 0, 1000000, 0,
		.help = "Look for requests so many microseconds before sleeping; 0." },
	[POOL - VIO_OPT_COMMON] = { "thread-pool-size", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 256, VIO_TREE_THREADS,
		.help = "Threads for what the host has to wait for; 8." },
	[MAX_NODES - VIO_OPT_COMMON] = { "max-nodes", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 64, 1 << 28, VIO_TREE_MAX_NODES,
		.help = "Files that the guest may know at a time, about 200 bytes each; 4194304." },
	[MAX_HANDLES - VIO_OPT_COMMON] = { "max-handles", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 16, 1 << 24, VIO_TREE_MAX_HANDLES,
		.help = "Files that the guest may have open at a time; 65536, or half of the limit of open files." },
	[MAX_DESCRIPTORS - VIO_OPT_COMMON] = { "max-descriptors", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 16, 1 << 24,
		VIO_TREE_MAX_DESCRIPTORS,
		.help = "Descriptors kept for files that the guest knows; 16384, or a quarter of the limit of open files." },
	[MAX_OWNERS - VIO_OPT_COMMON] = { "max-lock-owners", "N", VIO_OPT_NUMBER, VIO_OPT_DEVICE, 1, 1 << 20, VIO_TREE_MAX_LOCK_OWNERS,
		.help = "POSIX locks' owners (a program and a file) at a time; 4096, or an eighth of the limit of open files." },
};

static bool take_squash(const struct vio_arg *a, struct vio_tree_options *o, char *why)
{
	char *end;
	if (!a[SQUASH].given)
		return true;
	unsigned long uid = strtoul(a[SQUASH].text, &end, 10);
	unsigned long gid = *end == ':' && end[1] >= '0' && end[1] <= '9' ? strtoul(end + 1, &end, 10) : UINT32_MAX;
	if (a[SQUASH].text[0] < '0' || a[SQUASH].text[0] > '9' || *end || uid >= UINT32_MAX || gid >= UINT32_MAX) {
		snprintf(why, VIO_OPT_WHY, "--squash=%s is no user and group: give two numbers, UID:GID", a[SQUASH].text);
		return false;
	}
	o->uid.squash = o->gid.squash = true;
	o->uid.squash_to = (uint32_t)uid;
	o->gid.squash_to = (uint32_t)gid;
	return true;
}

static bool take_options(const struct vio_arg *a, struct vio_tree_options *o, char *why)
{
	*o = (struct vio_tree_options){
		.path = a[SHARED_DIR].text, .cache = (enum vio_tree_cache)a[CACHE].number,
		.xattr = (enum vio_tree_xattr)a[XATTR].number, .writeback = a[WRITEBACK].given, .no_acl = a[ACL].number,
		.no_locks = a[LOCKS].number, .no_submounts = a[SUBMOUNTS].number, .no_file_handles = a[FILE_HANDLES].number,
		.read_only = a[READ_ONLY].given, .devices = a[DEVICES].given, .max_nodes = (uint32_t)a[MAX_NODES].number,
		.max_handles = (uint32_t)a[MAX_HANDLES].number, .max_descriptors = (uint32_t)a[MAX_DESCRIPTORS].number,
		.max_lock_owners = (uint32_t)a[MAX_OWNERS].number, .threads = (unsigned)a[POOL].number,
		.queues = (unsigned)a[NUM_QUEUES].number + 1,
	};
	return (!a[UID_MAP].given || vio_tree_ids_parse(&o->uid, a[UID_MAP].text, why)) &&
	    (!a[GID_MAP].given || vio_tree_ids_parse(&o->gid, a[GID_MAP].text, why)) && take_squash(a, o, why);
}

static bool check(const struct vio_arg *a, char *why)
{
	struct vio_tree_options o;
	if (!a[SHARED_DIR].given) {
		snprintf(why, VIO_OPT_WHY, "it is not said what to share: add --shared-dir=FOLDER");
		return false;
	}
	return take_options(a, &o, why);
}

static bool open_fs(struct vio_unit *u, struct vio_loop *const *loops, unsigned loop_count, char *why)
{
	const struct vio_arg *a = u->args;
	struct vio_tree_options o;
	if (!take_options(a, &o, why))
		return false;
	o.loops = loops;
	o.loop_count = loop_count;
	struct vio_tree *tree = vio_tree_host_open(&o, why);
	if (!tree)
		return false;
	struct vio_fs_options fs = { .tree = tree, .tag = a[TAG].given ? a[TAG].text : "vio",
		.request_queues = (uint16_t)a[NUM_QUEUES].number, .queue_size = (uint16_t)a[QUEUE_SIZE].number };
	const char *refused = vio_dev_open(u->dev, &vio_dev_fs, &fs, &vio_vhost_port, NULL, vio_daemon_wire(a));
	if (refused) {
		snprintf(why, VIO_OPT_WHY, "cannot share %.200s: %s", a[SHARED_DIR].text, refused);
		vio_tree_close(tree);
		return false;
	}
	if (a[VIO_OPT_VERBOSE].given) {
		char words[200];
		vio_tree_host_say(tree, words, sizeof words);
		vio_say(u->name, "%s", words);
	}
	u->backend = tree;
	return true;
}

static void close_fs(struct vio_unit *u) { vio_tree_close(u->backend); }

static void grant(struct vio_unit *u, struct vio_sandbox_options *o) { vio_tree_host_grant(u->backend, o); }

static void stats(struct vio_unit *u, json_t *into)
{
	struct vio_tree_figures f;
	vio_tree_host_figures(u->backend, &f);
	json_object_set_new(into, "fs", json_pack("{s:I, s:I, s:I, s:I}", "nodes", (json_int_t)f.nodes,
	    "descriptors", (json_int_t)f.descriptors, "handles", (json_int_t)f.handles, "lock_owners", (json_int_t)f.lock_owners));
}

const struct vio_service vio_service_fs = {
	.type = &vio_dev_fs,
	.program = "vio-fs",
	.capabilities = "{\"type\": \"fs\"}",
	.options = {
		.usage = "vio fs --socket-path=PATH --shared-dir=FOLDER [options] [--socket-path=PATH --shared-dir=FOLDER [options]]...",
		.about = "Shares folders with virtual machines over vhost-user. Started as vio-fs it also takes virtiofsd's -o LIST.",
		.common = vio_daemon_options, .common_count = VIO_OPT_COMMON,
		.own = options, .own_count = END - VIO_OPT_COMMON,
	},
	.threads_option = THREADS, .poll_option = POLL_US,
	.check = check, .open = open_fs, .close = close_fs, .stats = stats, .calls = vio_tree_host_calls, .grant = grant,
};

/* ---- virtiofsd's way to say it, which is libvirt's: -o source=FOLDER,cache=always,xattr,... ---- */

static const struct { const char *word, *option; bool prefix; } translated[] = {
	{ "source=", "--shared-dir=", true }, { "cache=none", "--cache=never", false }, { "cache=", "--cache=", true },
	{ "writeback", "--writeback", false }, { "no_writeback", NULL, false },
	{ "xattr", "--xattr=on", false }, { "no_xattr", "--xattr=off", false },
	{ "posix_acl", "--acl=on", false }, { "no_posix_acl", "--acl=off", false },
	{ "posix_lock", "--locks=on", false }, { "flock", "--locks=on", false },
	{ "no_posix_lock", NULL, false }, { "no_flock", NULL, false },
	{ "announce_submounts", "--submounts=on", false }, { "readdirplus", NULL, false },
	{ "sandbox=namespace", "--sandbox=on", false }, { "sandbox=chroot", "--sandbox=on", false }, { "sandbox=none", "--sandbox=none", false },
	{ "killpriv_v2", NULL, false }, { "no_killpriv_v2", NULL, false }, { "modcaps=", NULL, true },
};
enum { TRANSLATED = sizeof translated / sizeof *translated };

struct words { char **word; int count; };

static bool add(struct words *w, const char *option, const char *value)
{
	char *s;
	for (int i = 0; i < w->count; i++)	/* "posix_lock,flock" is one option here */
		if (!*value && !strcmp(w->word[i], option))
			return true;
	if (asprintf(&s, "%s%s", option, value) < 0)
		return false;
	w->word[w->count++] = s;
	return true;
}

/* One word of the list.  False: there is nothing like it here. */
static bool translate(struct words *w, const char *word)
{
	for (unsigned i = 0; i < TRANSLATED; i++) {
		size_t n = strlen(translated[i].word);
		if (translated[i].prefix ? strncmp(word, translated[i].word, n) : strcmp(word, translated[i].word))
			continue;
		return !translated[i].option || add(w, translated[i].option, translated[i].prefix ? word + n : "");
	}
	return false;
}

int vio_cmd_fs(int argc, char **argv)
{
	struct words w = { 0 };
	size_t most = (size_t)argc + 2;
	for (int i = 0; i < argc; i++)
		most += strlen(argv[i]);
	if (!(w.word = calloc(most, sizeof *w.word)))
		return 1;
	for (int i = 0; i < argc; i++) {
		bool list = i > 0 && !strcmp(argv[i], "-o") && i + 1 < argc;
		if (!list && !add(&w, argv[i], ""))
			return 1;
		if (!list)
			continue;
		char *at = argv[++i];
		for (char *word; (word = strsep(&at, ","));)
			if (*word && !translate(&w, word)) {
				vio_say("vio-fs", "-o %.100s says nothing here: leave it out, or see vio fs --help", word);
				return 2;
			}
	}
	int status = vio_daemon(&vio_service_fs, w.count, w.word);
	for (int i = 0; i < w.count; i++)
		free(w.word[i]);
	free(w.word);
	return status;
}
