#include "options.h"
#include <vio/host/why.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 34, HELP_WIDTH = 100 };

struct parser {
	const struct vio_opt_table *t;
	struct vio_args *a;
	char *why;
	bool one;		/* device, whatever the scopes say */
};

static unsigned count(const struct vio_opt_table *t) { return t->common_count + t->own_count; }

const struct vio_opt *vio_opt_at(const struct vio_opt_table *t, unsigned i)
{
	return i < t->common_count ? &t->common[i] : &t->own[i - t->common_count];
}

/* ---- Values ---- */

/* Digits only: strtoull would take signs and blanks. */
static bool to_number(const char *s, unsigned base, uint64_t *n)
{
	*n = 0;
	if (!*s)
		return false;
	for (; *s; s++) {
		unsigned digit = (unsigned)(unsigned char)*s - '0';
		if (digit >= base || __builtin_mul_overflow(*n, base, n) || __builtin_add_overflow(*n, digit, n))
			return false;
	}
	return true;
}

bool vio_opt_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGT";
	char digits[24];
	size_t n = strlen(text);
	const char *unit = n ? strchr(units, text[n - 1]) : NULL;
	if (unit)
		n--;
	if (n >= sizeof digits)
		return false;
	memcpy(digits, text, n);
	digits[n] = 0;
	uint64_t factor = unit ? UINT64_C(1024) << (10 * (unit - units)) : 1;
	return to_number(digits, 10, bytes) && !__builtin_mul_overflow(*bytes, factor, bytes);
}

unsigned vio_opt_parts(char *text, struct vio_opt_part *parts, unsigned max)
{
	unsigned n = 0;
	char *to = text, *name = text, *value = NULL;
	for (const char *from = text;; from++) {
		char c = *from;
		if (!c || (c == ',' && from[1] != ',')) {
			*to++ = 0;
			if (n < max)
				parts[n] = (struct vio_opt_part){ name, value };
			n++;
			if (!c)
				return n;
			name = to;
			value = NULL;
		} else if (c == '=' && !value) {
			*to++ = 0;
			value = to;
		} else {
			from += c == ',';
			*to++ = c;
		}
	}
}

static bool choose(const struct vio_opt *o, const char *value, uint64_t *index)
{
	size_t n = strlen(value);
	*index = 0;
	for (const char *word = o->arg; word; (*index)++) {
		const char *end = strchrnul(word, '|');
		if ((size_t)(end - word) == n && !memcmp(word, value, n))
			return true;
		word = *end ? end + 1 : NULL;
	}
	return false;
}

/* "a|b|c" as "a, b or c" */
static void spell_choices(const char *arg, char *to, size_t room)
{
	size_t n = 0;
	for (const char *s = arg; *s && n + 5 < room; s++) {
		if (*s != '|') {
			to[n++] = *s;
			continue;
		}
		const char *between = strchr(s + 1, '|') ? ", " : " or ";
		n = (size_t)(stpcpy(to + n, between) - to);
	}
	to[n] = 0;
}

static bool printable(const char *s)
{
	for (; *s; s++)
		if (*s < ' ' || *s > '~')
			return false;
	return true;
}

static bool take_value(const struct vio_opt *o, const char *value, struct vio_arg *to, char *why)
{
	char words[80];
	to->text = value;
	size_t n = strlen(value);
	switch (o->kind) {
	case VIO_OPT_FLAG:
		return true;
	case VIO_OPT_TEXT:
		if (!n)
			return vio_refuse(why, "--%s has an empty value: give --%s=%s", o->name, o->name, o->arg);
		if (n < o->min || n > o->max)
			return vio_refuse(why, "--%s is %zu characters long: give %llu to %llu", o->name, n,
			    (unsigned long long)o->min, (unsigned long long)o->max);
		/* A path is bytes; other words end up in config spaces and messages. */
		if (o->max <= 255 && !printable(value))
			return vio_refuse(why, "--%s has characters that are not printable ASCII: leave them out", o->name);
		return true;
	case VIO_OPT_NUMBER:
		if (to_number(value, 10, &to->number) && to->number >= o->min && to->number <= o->max)
			return true;
		return vio_refuse(why, "--%s=%.40s cannot be: give a number from %llu to %llu", o->name, value,
		    (unsigned long long)o->min, (unsigned long long)o->max);
	case VIO_OPT_POWER:
		if (to_number(value, 10, &to->number) && to->number >= o->min && to->number <= o->max
		    && !(to->number & (to->number - 1)))
			return true;
		return vio_refuse(why, "--%s=%.40s cannot be: give a power of two from %llu to %llu", o->name, value,
		    (unsigned long long)o->min, (unsigned long long)o->max);
	case VIO_OPT_OCTAL:
		if (to_number(value, 8, &to->number) && to->number >= o->min && to->number <= o->max)
			return true;
		return vio_refuse(why, "--%s=%.40s cannot be: give an octal number from %llo to %llo", o->name, value,
		    (unsigned long long)o->min, (unsigned long long)o->max);
	case VIO_OPT_CHOICE:
		if (choose(o, value, &to->number))
			return true;
		spell_choices(o->arg, words, sizeof words);
		return vio_refuse(why, "--%s=%.40s cannot be: give %s", o->name, value, words);
	}
	return false;
}

/* ---- Names ---- */

/* How many letters must be put in, left out or changed to make b of a (n letters); both are short. */
static unsigned distance(const char *a, size_t n, const char *b)
{
	unsigned row[64];
	size_t m = strlen(b);
	if (n >= 64 || m >= 64)
		return 64;
	for (size_t j = 0; j <= m; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= n; i++) {
		unsigned diagonal = row[0];
		row[0] = (unsigned)i;
		for (size_t j = 1; j <= m; j++) {
			unsigned change = diagonal + (a[i - 1] != b[j - 1]);
			unsigned least = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
			diagonal = row[j];
			row[j] = change < least ? change : least;
		}
	}
	return row[m];
}

int vio_opt_find(const struct vio_opt_table *t, const char *name, size_t n)
{
	for (unsigned i = 0; i < count(t); i++)
		if (strlen(vio_opt_at(t, i)->name) == n && !memcmp(vio_opt_at(t, i)->name, name, n))
			return (int)i;
	return -1;
}

static bool refuse_name(struct parser *p, const char *name, size_t n)
{
	const char *nearest = NULL;
	unsigned least = (unsigned)(n < 60 ? n : 60) / 3 + 1;	/* one letter in three may be wrong */
	for (unsigned i = 0; i < count(p->t); i++) {
		unsigned d = distance(name, n, vio_opt_at(p->t, i)->name);
		if (d < least) {
			least = d;
			nearest = vio_opt_at(p->t, i)->name;
		}
	}
	if (nearest)
		return vio_refuse(p->why, "there is no option --%.*s: did you mean --%s?", (int)(n < 60 ? n : 60), name, nearest);
	return vio_refuse(p->why, "there is no option --%.*s: --help lists those there are", (int)(n < 60 ? n : 60), name);
}

/* ---- Devices ---- */

static bool begin_device(struct parser *p)
{
	struct vio_args *a = p->a;
	if (a->devices == VIO_OPT_DEVICES)
		return vio_refuse(p->why, "there are more than %u devices: serve the others from another process", VIO_OPT_DEVICES);
	void *more = realloc(a->device, (a->devices + 1) * sizeof *a->device);
	if (!more)
		return vio_refuse(p->why, "there is no memory for %u devices: serve fewer from one process", a->devices + 1);
	a->device = more;
	memset(a->device[a->devices++], 0, sizeof *a->device);
	return true;
}

/* The option that has taken the slot for the device on hand, or NULL. */
static const struct vio_opt *slot_taken(struct parser *p, unsigned slot)
{
	for (unsigned i = 0; i < count(p->t); i++) {
		const struct vio_opt *o = vio_opt_at(p->t, i);
		if (o->scope == VIO_OPT_PLACE && o->slot == slot && p->a->device[p->a->devices - 1][i].given)
			return o;
	}
	return NULL;
}

/* The same where there is one device. */
static struct vio_arg *place_one(struct parser *p, unsigned i)
{
	const struct vio_opt *o = vio_opt_at(p->t, i), *other = o->scope == VIO_OPT_PLACE ? slot_taken(p, o->slot) : NULL;

	if (other && other != o) {
		vio_refuse(p->why, "--%s and --%s exclude each other: keep one", other->name, o->name);
		return NULL;
	}
	return &p->a->device[0][i];
}

/* Where option o is to be kept: NULL, and why has been said. */
static struct vio_arg *place(struct parser *p, unsigned i)
{
	const struct vio_opt *o = vio_opt_at(p->t, i);
	struct vio_args *a = p->a;
	if (p->one)
		return place_one(p, i);
	if (o->scope == VIO_OPT_PLACE && (!a->devices || slot_taken(p, o->slot)) && !begin_device(p))
		return NULL;
	if (o->scope == VIO_OPT_PROCESS || !a->devices)
		return &a->common[i];
	return &a->device[a->devices - 1][i];
}

static void settle(struct parser *p)
{
	struct vio_args *a = p->a;
	for (unsigned i = 0; i < count(p->t); i++) {
		const struct vio_opt *o = vio_opt_at(p->t, i);
		if (!a->common[i].given)
			a->common[i].number = o->preset;
		for (unsigned d = 0; d < a->devices; d++)
			if (!a->device[d][i].given)
				a->device[d][i] = a->common[i];
	}
}

/* ---- Parsing ---- */

/* One value more of an option that may have many.  There is a word for each word of the command line. */
static void append(struct vio_args *a, struct vio_arg *to, const char *value)
{
	struct vio_opt_word *w = &a->pool[a->pooled++];
	const struct vio_opt_word **last = &to->words;
	*w = (struct vio_opt_word){ .text = value };
	while (*last)
		last = (const struct vio_opt_word **)&(*last)->next;
	*last = w;
}

/* One option at argv[*at]; *at moves past it. */
static bool take(struct parser *p, int argc, char **argv, int *at)
{
	const char *word = argv[(*at)++];
	if (strncmp(word, "--", 2) || !word[2])
		return vio_refuse(p->why, "\"%.60s\" is not an option: options begin with --, and --help lists them", word);
	const char *name = word + 2, *equals = strchr(name, '=');
	size_t n = equals ? (size_t)(equals - name) : strlen(name);
	int i = vio_opt_find(p->t, name, n);
	if (i < 0)
		return refuse_name(p, name, n);
	const struct vio_opt *o = vio_opt_at(p->t, (unsigned)i);
	const char *value = equals ? equals + 1 : NULL;
	if (!o->arg && value)
		return vio_refuse(p->why, "--%s takes no value: write --%s alone", o->name, o->name);
	if (o->arg && !value && !o->bare) {
		if (*at == argc || !strncmp(argv[*at], "--", 2))
			return vio_refuse(p->why, "--%s needs a value: write --%s=%s", o->name, o->name, o->arg);
		value = argv[(*at)++];
	}
	struct vio_arg *to = place(p, (unsigned)i);
	if (!to)
		return false;
	if (to->given && !o->many)
		return vio_refuse(p->why, "--%s is given twice%s: keep one", o->name, p->a->devices && !p->one ? " for one device" : "");
	to->given = true;
	bool alone = !value;
	if (alone)
		value = "";
	if (o->many)
		append(p->a, to, value);
	if (alone && o->bare)
		to->text = value;
	return (alone && o->bare) || take_value(o, value, to, p->why);
}

static bool parse(struct parser *p, int argc, char **argv)
{
	struct vio_args *a = p->a;
	memset(a, 0, sizeof *a);
	a->pool = calloc(argc > 0 ? (size_t)argc : 1, sizeof *a->pool);
	if (!a->pool)
		return vio_refuse(p->why, "there is no memory for a command line of %d words: give fewer", argc);
	if (p->one && !begin_device(p))
		return false;
	for (int at = 1; at < argc;)
		if (!take(p, argc, argv, &at))
			return false;
	settle(p);
	return true;
}

bool vio_opt_parse(const struct vio_opt_table *t, int argc, char **argv, struct vio_args *a, char *why)
{
	return parse(&(struct parser){ t, a, why, false }, argc, argv);
}

bool vio_opt_parse_one(const struct vio_opt_table *t, int argc, char **argv, struct vio_args *a, char *why)
{
	return parse(&(struct parser){ t, a, why, true }, argc, argv);
}

void vio_opt_free(struct vio_args *a)
{
	free(a->device);
	free(a->pool);
	a->device = NULL;
	a->pool = NULL;
	a->devices = 0;
}

/* ---- Help ---- */

static void print_wrapped(const char *text, int at)
{
	for (bool first = true; *text; first = false) {
		size_t n = strcspn(text, " ");
		if (!first && at + (int)n + 1 > HELP_WIDTH)
			at = printf("\n%*s", HELP_COLUMN, "") - 1;
		else if (!first)
			at += printf(" ");
		at += printf("%.*s", (int)n, text);
		text += n + (text[n] == ' ');
	}
	putchar('\n');
}

static void print_option(const struct vio_opt *o)
{
	int at = printf(o->bare ? "  --%s[%s%s]" : "  --%s%s%s", o->name, o->arg ? "=" : "", o->arg ? o->arg : "");
	if (at >= HELP_COLUMN)
		at = printf("\n") - 1;
	at += printf("%*s", HELP_COLUMN - at, "");
	print_wrapped(o->help, at);
}

void vio_opt_help(const struct vio_opt_table *t)
{
	printf("Usage: %s\n%s\n\nOptions:\n", t->usage, t->about);
	for (unsigned i = 0; i < t->own_count; i++)
		print_option(&t->own[i]);
	if (t->common_count)
		printf("\nCommon options:\n");
	for (unsigned i = 0; i < t->common_count; i++)
		print_option(&t->common[i]);
}
