/* Words out by the serial port, words in by the command line, and results as lines of TAP. */
#include <stdarg.h>
#include <vmm/x86/layout.h>
#include "guest.h"

enum { LINE_STATUS = 5, CAN_SEND = 0x20 };

static void put(char c)
{
	for (unsigned i = 0; i < 100000 && !(in8(VMM_PORT_SERIAL + LINE_STATUS) & CAN_SEND); i++)
		;
	out8(VMM_PORT_SERIAL, (uint8_t)c);
}

static void put_number(uint64_t v, unsigned base)
{
	char digits[20];
	unsigned n = 0;

	do
		digits[n++] = "0123456789abcdef"[v % base];
	while ((v /= base) != 0);
	while (n)
		put(digits[--n]);
}

static void put_string(const char *s)
{
	for (s = s ? s : "(null)"; *s; s++)
		put(*s);
}

static void vsay(const char *f, va_list a)
{
	for (; *f; f++) {
		if (*f != '%') {
			put(*f);
			continue;
		}
		bool wide = f[1] == 'l';
		f += wide ? 3 : 1;
		if (*f == 's')
			put_string(va_arg(a, const char *));
		else if (*f == 'c')
			put((char)va_arg(a, int));
		else
			put_number(wide ? va_arg(a, unsigned long long) : va_arg(a, unsigned), *f == 'x' ? 16 : 10);
	}
}

void say(const char *format, ...)
{
	va_list a;

	va_start(a, format);
	vsay(format, a);
	va_end(a);
}

/* ---- The command line ---- */

static char command_line[2048];		/* ours: the loader's is in memory that may be written over */

static unsigned length(const char *s)
{
	unsigned n = 0;
	while (s[n])
		n++;
	return n;
}

void guest_words_init(const char *line)
{
	unsigned n = line ? length(line) : 0;

	memcpy(command_line, line, n < sizeof command_line ? n : sizeof command_line - 1);
}

/* Does text begin with the item, and has it ended there? */
static bool begins(const char *text, const char *item)
{
	unsigned n = length(item);
	return memcmp(text, item, n) == 0 && (text[n] == 0 || text[n] == ' ' || text[n] == ',');
}

bool same(const char *a, const char *b) { return length(a) == length(b) && memcmp(a, b, length(a)) == 0; }

const char *word(const char *name)
{
	unsigned n = length(name);

	for (const char *at = command_line; *at; ) {
		if (memcmp(at, name, n) == 0 && at[n] == '=')
			return at + n + 1;
		while (*at && *at != ' ')
			at++;
		while (*at == ' ')
			at++;
	}
	return NULL;
}

bool word_is(const char *name, const char *value) { return word(name) && begins(word(name), value); }

bool next_number(const char **text, uint64_t *n)
{
	const char *t = *text;
	unsigned base = 10;

	if (t[0] == '0' && t[1] == 'x') {
		base = 16;
		t += 2;
	}
	const char *first = t;
	for (*n = 0; ; t++) {
		unsigned digit = *t >= 'a' ? (unsigned)*t - 'a' + 10 : (unsigned)*t - '0';
		if (digit >= base)
			break;
		*n = *n * base + digit;
	}
	*text = *t == ',' ? t + 1 : t;
	return t != first;
}

uint64_t word_number(const char *name, uint64_t otherwise)
{
	const char *text = word(name);
	uint64_t n;

	return text && next_number(&text, &n) ? n : otherwise;
}

bool word_lists(const char *name, const char *item)
{
	for (const char *at = word(name); at && *at && *at != ' '; at++) {
		if (begins(at, item))
			return true;
		while (*at && *at != ' ' && *at != ',')
			at++;
		if (*at != ',')
			break;
	}
	return false;
}

/* ---- Results ---- */

static const char *about = "guest";
static unsigned results, bad;

void expect_about(const char *subject) { about = subject; }

bool expect(bool ok, const char *format, ...)
{
	va_list a;

	bad += !ok;
	say("%s %u - %s: ", ok ? "ok" : "not ok", ++results, about);
	va_start(a, format);
	vsay(format, a);
	va_end(a);
	put('\n');
	return ok;
}

unsigned expect_end(void)
{
	say("1..%u\n", results);
	return bad;
}
