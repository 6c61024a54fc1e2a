/*
 * The message table as a page of the documentation: "vhost-messages --print" prints it, and the test holds it against what
 * stands in docs/vhost-user.md.  And what the table must be for the parser to rely on it.
 */
#include "../test.h"
#include <vio/vhost/wire.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const payloads[] = { "nothing", "u64", "ring state", "ring addresses", "memory table", "memory region",
	"log area", "translation", "config space", "in-flight area", "direction, phase", "u64: ring, no-fd flag", "-" };
static const char *const replies[] = { "if asked for", "always: 0 or error", "always: its own" };
static const char *const allowed[] = { "always", "while that ring is stopped or disabled", "while all rings are stopped" };
static const char *const quiets[] = { "", "the ring", "users of the memory", "all rings" };

static void range(FILE *to, unsigned min, unsigned max)
{
	if (min == max)
		fprintf(to, "%u", min);
	else
		fprintf(to, "%u–%u", min, max);
}

static void print_table(FILE *to)
{
	fputs("| id | message | payload | bytes | fds | needs | answered | allowed | waits for |\n"
	    "|---|---|---|---|---|---|---|---|---|\n", to);
	for (unsigned id = 0; id < VIO_MSG_LIMIT; id++) {
		const struct vio_vhost_message_type *t = &vio_vhost_message_types[id];
		if (!t->name)
			continue;
		if (t->payload == VIO_PAYLOAD_OTHER) {
			fprintf(to, "| %u | %s | | | | %s | refused: not served | | |\n", id, t->name,
			    t->needs == VIO_VHOST_F_NEVER ? "" : t->needs_name);
			continue;
		}
		fprintf(to, "| %u | %s | %s | ", id, t->name, payloads[t->payload]);
		range(to, t->size_min, t->size_max);
		fputs(" | ", to);
		range(to, t->fds_min, t->fds_max);
		fprintf(to, " | %s | %s | %s | %s |\n", t->needs == VIO_VHOST_F_NONE ? "" : t->needs_name, replies[t->reply],
		    allowed[t->allowed], quiets[t->quiets]);
	}
	fputs("\nOver the channel of SET_BACKEND_REQ_FD the daemon sends:\n\n| id | message | payload | bytes | needs |\n"
	    "|---|---|---|---|---|\n", to);
#define VIO_BACKEND_MESSAGE(name, id, payload, size, needs) \
	fprintf(to, "| %u | %s | %s | %u | %s |\n", id, #name, payloads[VIO_PAYLOAD_##payload], size, #needs);
#include <vio/vhost/messages.def>
}

static char *read_file(const char *path)
{
	FILE *f = fopen(path, "r");
	char *text = calloc(1, 1 << 17);

	assert_non_null(f);
	text[fread(text, 1, (1 << 17) - 1, f)] = 0;
	fclose(f);
	return text;
}

static void documented(void **state)
{
	char *page = read_file(VIO_PAGE), *table = NULL;
	size_t n;
	FILE *f = open_memstream(&table, &n);

	(void)state;
	print_table(f);
	fclose(f);
	if (!strstr(page, table))
		fail_msg("docs/vhost-user.md does not hold the table that vhost-messages --print prints");
	free(page);
	free(table);
}

static void sound(void **state)
{
	uint64_t offered = 0;
	(void)state;
#define OFFERED(f) offered |= UINT64_C(1) << VIO_VHOST_F_##f;
	OFFERED(MQ) OFFERED(LOG_SHMFD) OFFERED(REPLY_ACK) OFFERED(BACKEND_REQ) OFFERED(CONFIG) OFFERED(INFLIGHT_SHMFD)
	OFFERED(RESET_DEVICE) OFFERED(INBAND_NOTIFICATIONS) OFFERED(CONFIGURE_MEM_SLOTS) OFFERED(STATUS)
	OFFERED(DEVICE_STATE)
	for (unsigned id = 0; id < VIO_MSG_LIMIT; id++) {
		const struct vio_vhost_message_type *t = &vio_vhost_message_types[id];
		if (!t->name)
			continue;
		assert_true(t->size_min <= t->size_max && t->size_max <= sizeof(union vio_vhost_payload));
		assert_true(t->fds_min <= t->fds_max && t->fds_max <= VIO_VHOST_FDS);
		/* served, and what it needs is offered; or neither */
		bool can = t->needs == VIO_VHOST_F_NONE || offered >> t->needs & 1;
		assert_int_equal(can, t->payload != VIO_PAYLOAD_OTHER);
	}
}

int main(int argc, char **argv)
{
	static const struct CMUnitTest tests[] = {
		T(sound, "every message has a possible size, and is served or needs what is not offered"),
		T(documented, "docs/vhost-user.md holds the message table"),
	};
	if (argc > 1 && !strcmp(argv[1], "--print")) {
		print_table(stdout);
		return 0;
	}
	return vio_tests("vhost messages", tests, sizeof tests / sizeof *tests);
}
