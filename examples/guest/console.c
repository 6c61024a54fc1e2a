/* A console: a line out by the first port there is; with console=echo a line in, which goes back. */
#include <vio/driver/console.h>
#include "guest.h"

static bool find(struct vio_console *c, unsigned *n)
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;

	do {
		vio_console_work(c);
		for (*n = 0; *n < c->ports; ++*n)
			if (c->port[*n].exists && (c->port[*n].console || c->port[*n].host_open || !c->control.pair))
				return true;
		vio_drv_wait(&c->drv, 2, &c->control.rx, deadline);
	} while (clock_ns() < deadline);
	return false;
}

static bool write(struct vio_console *c, unsigned n, const char *text, uint32_t len)
{
	uint64_t deadline = clock_ns() + VIO_DRV_PATIENCE_NS;

	while (len && clock_ns() < deadline) {
		uint32_t went = vio_console_write(c, n, text, len);
		text += went;
		len -= went;
	}
	return len == 0 && vio_console_drain(c, n);
}

/* How many bytes of a line came. */
static uint32_t read_line(struct vio_console *c, unsigned n, char *line, uint32_t room)
{
	uint64_t deadline = clock_ns() + 2 * VIO_DRV_PATIENCE_NS;
	uint32_t len = 0;

	while (len < room && clock_ns() < deadline) {
		uint32_t came = vio_console_read(c, n, line + len, room - len);
		len += came;
		if (len && line[len - 1] == '\n')
			return len;
		if (!came) {
			vio_console_work(c);
			vio_drv_wait(&c->drv, n ? (uint16_t)(2 + 2 * n) : 0, &c->port[n].line.rx, deadline);
		}
	}
	return 0;
}

void drive_console(struct vio_drv_port *port)
{
	static const char hello[] = "a line of the guest\n";
	struct vio_console *c = GUEST_NEW(struct vio_console);
	char line[64];
	unsigned n;

	if (!expect(vio_console_start(c, port), "starts")) {
		say("# %s\n", c->drv.failed);
		return;
	}
	drive_features(&c->drv);
	if (expect(find(c, &n), "has a port")) {
		say("# console: port %u, %s\n", n, c->port[n].name);
		vio_console_open(c, n, true);
		expect(write(c, n, hello, sizeof hello - 1), "takes a line");
		if (word_is("console", "echo")) {
			uint32_t len = read_line(c, n, line, sizeof line);
			expect(len > 1, "gives a line");
			expect(write(c, n, line, len), "takes it back");
		}
	}
	expect(vio_console_stop(c), "stops");
}
