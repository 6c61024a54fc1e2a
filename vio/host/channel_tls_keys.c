/* The keys of TLS, read once: shared secrets with names, or certificates. */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vio/host/channel_impl.h>

/* ---- Shared secrets ---- */

static int digit(char c)
{
	const char *all = "0123456789abcdef", *at = c ? strchr(all, tolower((unsigned char)c)) : NULL;
	return at ? (int)(at - all) : -1;
}

enum { KEY_LEAST = 16 };		/* bytes: a shorter one can be guessed */

static bool take_line(struct vio_tls_keys *k, char *line, const char *file, unsigned number, char *why)
{
	struct vmm_psk *p = &k->psk[k->psks];
	char *end = line + strcspn(line, "\r\n"), *colon;

	*end = 0;
	if (!line[0] || line[0] == '#')
		return true;
	colon = strchr(line, ':');
	if (!colon || colon == line || colon - line > VMM_PSK_NAME)
		return vio_refuse(why, "line %u of %.200s is no name and key: write it with psktool", number, file);
	if (k->psks == VMM_PSKS)
		return vio_refuse(why, "%.200s has more than %d keys: leave some out", file, VMM_PSKS);
	memcpy(p->name, line, (size_t)(colon - line));
	p->name[colon - line] = 0;
	for (const char *c = colon + 1; *c; c += 2) {
		int high = digit(c[0]), low = high < 0 ? -1 : digit(c[1]);
		if (low < 0 || p->bytes == VMM_PSK_KEY)
			return vio_refuse(why, "line %u of %.200s: a key is pairs of hexadecimal digits, at most %d", number, file, VMM_PSK_KEY);
		p->key[p->bytes++] = (unsigned char)(high << 4 | low);
	}
	if (p->bytes < KEY_LEAST)
		return vio_refuse(why, "line %u of %.200s: a key of less than %d bytes can be guessed: make one with psktool", number, file,
		    KEY_LEAST);
	k->psks++;
	return true;
}

static bool read_psks(struct vio_tls_keys *k, const char *file, char *why)
{
	char line[VMM_PSK_NAME + 2 * VMM_PSK_KEY + 8];
	FILE *f = fopen(file, "re");
	struct stat st;
	bool ok = true;

	if (!f)
		return vio_refuse(why, "cannot read the keys in %.200s: %s", file, strerror(errno));
	if (fstat(fileno(f), &st) || st.st_mode & S_IRWXO)
		ok = vio_refuse(why, "everybody may read or write the keys in %.200s: chmod o= it, and make new ones if others had time", file);
	for (unsigned n = 1; ok && fgets(line, sizeof line, f); n++) {
		if (!strchr(line, '\n') && !feof(f))
			ok = vio_refuse(why, "line %u of %.200s is too long for a name and a key", n, file);
		ok = ok && take_line(k, line, file, n, why);
	}
	explicit_bzero(line, sizeof line);
	fclose(f);
	return ok && (k->psks || vio_refuse(why, "there are no keys in %.200s: write some with psktool", file));
}

/* Who calls names himself; the key, or none: then the call ends. */
static int key_of(gnutls_session_t session, const char *name, gnutls_datum_t *key);
static const struct vio_tls_library *library;	/* the same for all: callbacks are told of nothing else */

static int key_of(gnutls_session_t session, const char *name, gnutls_datum_t *key)
{
	const struct vio_tls_keys *k = library->session_get_ptr(session);

	for (unsigned i = 0; i < k->psks; i++)
		if (!strcmp(k->psk[i].name, name)) {
			key->data = (*library->malloc)(k->psk[i].bytes);
			if (!key->data)
				return -1;
			memcpy(key->data, k->psk[i].key, k->psk[i].bytes);
			key->size = k->psk[i].bytes;
			return 0;
		}
	return -1;
}

static bool open_psk(struct vio_tls_keys *k, const char *file, char *why)
{
	if (!read_psks(k, file, why))
		return false;
	gnutls_datum_t raw = { k->psk[0].key, k->psk[0].bytes };
	if (k->lib->psk_allocate_client_credentials(&k->psk_client) || k->lib->psk_allocate_server_credentials(&k->psk_server) ||
	    k->lib->psk_set_client_credentials(k->psk_client, k->psk[0].name, &raw, GNUTLS_PSK_KEY_RAW))
		return vio_refuse(why, "GnuTLS does not take the keys in %.200s", file);
	k->lib->psk_set_server_credentials_function(k->psk_server, key_of);
	return true;
}

/* ---- Certificates ---- */

static bool open_certificates(struct vio_tls_keys *k, const char *folder, char *why)
{
	char ca[4096], cert[4096], key[4096];
	int n;

	if (strlen(folder) > sizeof ca - 32)
		return vio_refuse(why, "the path of the certificates is too long: choose another");
	snprintf(ca, sizeof ca, "%s/ca-cert.pem", folder);
	snprintf(cert, sizeof cert, "%s/cert.pem", folder);
	snprintf(key, sizeof key, "%s/key.pem", folder);
	if ((n = k->lib->certificate_allocate_credentials(&k->certificates)) < 0)
		return vio_refuse(why, "%s", k->lib->strerror(n));
	n = k->lib->certificate_set_x509_trust_file(k->certificates, ca, GNUTLS_X509_FMT_PEM);
	if (n <= 0)
		return vio_refuse(why, "cannot use %.200s: %s", ca, n ? k->lib->strerror(n) : "there is no certificate in it");
	n = k->lib->certificate_set_x509_key_file(k->certificates, cert, key, GNUTLS_X509_FMT_PEM);
	return n >= 0 || vio_refuse(why, "cannot use %.200s with key.pem beside it: %s", cert, k->lib->strerror(n));
}

/* ---- */

void vio_tls_keys_close(struct vio_tls_keys *k)
{
	if (!k)
		return;
	if (k->psk_client)
		k->lib->psk_free_client_credentials(k->psk_client);
	if (k->psk_server)
		k->lib->psk_free_server_credentials(k->psk_server);
	if (k->certificates)
		k->lib->certificate_free_credentials(k->certificates);
	explicit_bzero(k, sizeof *k);
	free(k);
}

struct vio_tls_keys *vio_tls_keys_open(const struct vio_tls *t, char *why)
{
	struct vio_tls_keys *k;

	if (t->psk && t->certificates) {
		vio_refuse(why, "both ends know each other by a shared key or by certificates: keep one of them");
		return NULL;
	}
	library = vio_tls_library(why);
	if (!library)
		return NULL;
	k = calloc(1, sizeof *k);
	if (!k) {
		vio_refuse(why, "there is no memory for the keys of TLS");
		return NULL;
	}
	k->lib = library;
	if (t->psk ? open_psk(k, t->psk, why) : open_certificates(k, t->certificates, why))
		return k;
	vio_tls_keys_close(k);
	return NULL;
}

bool vio_tls_load(struct vio_tls *t, char *why)
{
	t->keys = NULL;
	if (!t->psk && !t->certificates)
		return true;
	t->keys = vio_tls_keys_open(t, why);
	return t->keys != NULL;
}

void vio_tls_unload(struct vio_tls *t)
{
	vio_tls_keys_close(t->keys);
	t->keys = NULL;
}
