/*
 * TLS 1.3 over a connected socket.  Both ends prove who they are: by a shared secret with a name, or each by a certificate.  Who is
 * called answers with one byte when he believes the other, so that who calls knows it too before he sends anything.
 */
#include <errno.h>
#include <gnutls/x509.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <vio/host/channel_impl.h>

struct vio_way_tls {
	const struct vio_tls_library *lib;
	struct vio_tls_keys *own;	/* loaded for this connection; NULL: they are the caller's */
	gnutls_session_t session;
	bool ended;			/* the other end said that it has said all */
	gnutls_typed_vdata_st verify[2];	/* what a certificate must be for */
};

static const char by_psk[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK";
static const char by_certificates[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
enum { BELIEVED = 0x56 };

/* ---- Waiting ---- */

/* After a call that was not fatal: 0, or a negative errno value. */
static int wait_for(struct vio_way *w, int patience)
{
	return vio_way_wait(w, w->tls->lib->record_get_direction(w->tls->session) ? POLLOUT : POLLIN, patience);
}

static void say(struct vio_way *w, int error)
{
	const struct vio_tls_library *lib = w->tls->lib;

	if (error == GNUTLS_E_FATAL_ALERT_RECEIVED || error == GNUTLS_E_WARNING_ALERT_RECEIVED)
		vio_refuse(w->c.why, "the other end has refused TLS: %s", lib->alert_get_name(lib->alert_get(w->tls->session)));
	else if (error == GNUTLS_E_PREMATURE_TERMINATION || error == GNUTLS_E_PULL_ERROR || error == GNUTLS_E_PUSH_ERROR)
		vio_refuse(w->c.why, "the connection was cut");
	else
		vio_refuse(w->c.why, "TLS: %s", lib->strerror(error));
}

/* Go on?  0, or a negative errno value with w->c.why, if errno does not tell. */
static int judge(struct vio_way *w, long error)
{
	if (error == GNUTLS_E_AGAIN)
		return wait_for(w, VIO_CHANNEL_PATIENCE);
	if (!w->tls->lib->error_is_fatal((int)error))
		return vio_way_wait(w, POLLIN | POLLOUT, VIO_CHANNEL_PATIENCE);
	say(w, (int)error);
	return -EPROTO;
}

/* ---- Bytes ---- */

static ssize_t tls_read(struct vio_channel *c, void *to, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;
	struct vio_way_tls *t = w->tls;

	while (!t->ended) {
		ssize_t got = t->lib->record_recv(t->session, to, n);
		if (got > 0)
			return got;
		t->ended = got == 0;
		int error = got ? judge(w, got) : 0;
		if (error)
			return error;
	}
	return 0;
}

static ssize_t tls_write(struct vio_channel *c, const void *from, size_t n)
{
	struct vio_way *w = (struct vio_way *)c;
	struct vio_way_tls *t = w->tls;

	for (;;) {		/* what was not sent is repeated with the same bytes, as GnuTLS wants it */
		ssize_t done = t->lib->record_send(t->session, from, n);
		if (done > 0)
			return done;
		int error = judge(w, done);
		if (error)
			return error;
	}
}

static void end(struct vio_way *w)
{
	struct vio_way_tls *t = w->tls;

	if (t->session)
		t->lib->deinit(t->session);
	vio_tls_keys_close(t->own);
	free(t);
	w->tls = NULL;
}

/* That all was said, so that a cut is told from an end; who does not take it within a second misses it. */
static void tls_close(struct vio_channel *c)
{
	struct vio_way *w = (struct vio_way *)c;

	for (int error = 0; !error; ) {
		int n = w->tls->lib->bye(w->tls->session, GNUTLS_SHUT_WR);
		error = n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED ? wait_for(w, 1000) : 1;
	}
	end(w);
	vio_way_close(w);
}

/* ---- The beginning ---- */

static void say_certificate(struct vio_way *w, char *why)
{
	const struct vio_tls_library *lib = w->tls->lib;
	unsigned status = lib->session_get_verify_cert_status(w->tls->session);
	gnutls_datum_t text = { NULL, 0 };

	if (lib->certificate_verification_status_print(status, GNUTLS_CRT_X509, &text, 0) < 0)
		text.data = NULL;
	vio_refuse(why, "the other end's certificate is not believed: %.300s", text.data ? (const char *)text.data : "it is not verified");
	if (text.data)
		(*lib->free)(text.data);
}

/* It shall hear why: an alert, and the connection stays until it has gone or a second has passed. */
static void turn_away(struct vio_way *w, int n)
{
	int begun = vio_way_now_ms();
	char unread[1024];

	if (w->tls->lib->alert_send_appropriate(w->tls->session, n) < 0 || shutdown(w->fd, SHUT_WR))
		return;
	for (;;) {
		int left = 1000 - (int)((unsigned)vio_way_now_ms() - (unsigned)begun);
		if (left <= 0 || vio_way_wait(w, POLLIN, left) || recv(w->fd, unread, sizeof unread, MSG_DONTWAIT) <= 0)
			return;
	}
}

static bool refused(struct vio_way *w, int n, char *why)
{
	turn_away(w, n);
	if (n == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR) {
		say_certificate(w, why);
		return false;
	}
	if (n == GNUTLS_E_CERTIFICATE_REQUIRED || n == GNUTLS_E_NO_CERTIFICATE_FOUND)
		return vio_refuse(why, "the other end has no certificate of the authority that is believed here: give it one (ca-cert.pem)");
	say(w, n);
	return vio_refuse(why, "no TLS with the other end: %.400s", w->c.why);
}

/* All of it has one deadline: who sends a byte now and then does not hold it up. */
static bool shake(struct vio_way *w, char *why)
{
	int begun = vio_way_now_ms(), n, error = 0;

	while ((n = w->tls->lib->handshake(w->tls->session)) < 0) {
		if (n != GNUTLS_E_AGAIN && n != GNUTLS_E_INTERRUPTED && w->tls->lib->error_is_fatal(n))
			return refused(w, n, why);
		int left = VIO_CHANNEL_PATIENCE - (int)((unsigned)vio_way_now_ms() - (unsigned)begun);
		error = n == GNUTLS_E_AGAIN ? wait_for(w, left > 0 ? left : 0) : left <= 0 ? -ETIMEDOUT : 0;
		if (error)
			return vio_refuse(why, "no TLS with the other end: %s", strerror(-error));
	}
	return true;
}

static bool confirm(struct vio_way *w, bool server, char *why)
{
	unsigned char byte = BELIEVED;
	ssize_t n = server ? tls_write(&w->c, &byte, 1) : tls_read(&w->c, &byte, 1);

	if (n == 1 && byte == BELIEVED)
		return true;
	return vio_refuse(why, "no TLS with the other end: %.400s", w->c.why[0] ? w->c.why : n < 0 ? strerror((int)-n) : "it is no vio");
}

static int set_up(struct vio_way_tls *t, const struct vio_tls_keys *k, bool server, int fd, const char *host)
{
	const struct vio_tls_library *lib = t->lib;
	unsigned flags = GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | GNUTLS_NO_TICKETS;
	int n = lib->init(&t->session, flags | (unsigned)(server ? GNUTLS_SERVER : GNUTLS_CLIENT));

	if (n < 0)
		return n;
	lib->session_set_ptr(t->session, (void *)(uintptr_t)k);
	lib->transport_set_int2(t->session, fd, fd);
	n = lib->priority_set_direct(t->session, k->psks ? by_psk : by_certificates, NULL);
	if (n < 0)
		return n;
	if (k->psks)
		return lib->credentials_set(t->session, GNUTLS_CRD_PSK, server ? (void *)k->psk_server : (void *)k->psk_client);
	const char *purpose = server ? GNUTLS_KP_TLS_WWW_CLIENT : GNUTLS_KP_TLS_WWW_SERVER;
	t->verify[0] = (gnutls_typed_vdata_st){ GNUTLS_DT_KEY_PURPOSE_OID, (unsigned char *)(uintptr_t)purpose, 0 };
	t->verify[1] = (gnutls_typed_vdata_st){ GNUTLS_DT_DNS_HOSTNAME, (unsigned char *)(uintptr_t)host, 0 };
	lib->session_set_verify_cert2(t->session, t->verify, host && !server ? 2 : 1, 0);
	if (server)
		lib->certificate_server_set_request(t->session, GNUTLS_CERT_REQUIRE);
	return lib->credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, k->certificates);
}

static const struct vio_channel_ops ops = { tls_read, tls_write, vio_way_shut, tls_close };

bool vio_way_tls(struct vio_way *w, bool server, const struct vio_tls *tls, const char *host, char *why)
{
	struct vio_tls_keys *own = tls->keys ? NULL : vio_tls_keys_open(tls, why), *k = own ? own : tls->keys;

	if (!k)
		return false;
	w->tls = calloc(1, sizeof *w->tls);
	if (!w->tls) {
		vio_tls_keys_close(own);
		return vio_refuse(why, "there is no memory for TLS");
	}
	*w->tls = (struct vio_way_tls){ .lib = k->lib, .own = own };
	int n = set_up(w->tls, k, server, w->fd, host);
	if (n < 0)
		vio_refuse(why, "TLS: %s", k->lib->strerror(n));
	if (n >= 0 && shake(w, why) && confirm(w, server, why)) {
		w->c.ops = &ops;
		return true;
	}
	end(w);
	return false;
}
