/* The insides of channels: what waits for a descriptor, and what TLS lies over.  Not for users. */
#ifndef VIO_HOST_CHANNEL_IMPL_H
#define VIO_HOST_CHANNEL_IMPL_H
#include <vio/host/channel.h>

struct vio_way {
	struct vio_channel c;		/* first */
	int fd;
	int stop;			/* an eventfd that shut has written to */
	bool file;			/* regular: always ready */
	struct vio_way_tls *tls;	/* NULL: none */
};

/* NULL: no memory or descriptors (fd is closed). */
struct vio_way *vio_way_open(int fd, const struct vio_channel_ops *ops);
void vio_way_close(struct vio_way *w);
void vio_way_shut(struct vio_channel *c);
/* Until fd is ready for events (POLLIN, POLLOUT), or patience (ms) is at its end.  0, -ETIMEDOUT or -ECANCELED. */
int vio_way_wait(struct vio_way *w, short events, int patience);
int vio_way_now_ms(void);		/* it wraps: only differences count */

/* channel_tls.c: talk TLS over w, which is connected.  host: whose certificate the other end must have; NULL: anybody's that we believe. */
bool vio_way_tls(struct vio_way *w, bool server, const struct vio_tls *tls, const char *host, char *why);

/* ---- channel_tls_library.c: what is used of GnuTLS, which is loaded where it is asked for ---- */

#include <gnutls/gnutls.h>
#define VIO_TLS_FUNCTIONS(x) \
	x(init) x(deinit) x(handshake) x(bye) x(record_recv) x(record_send) x(record_get_direction) x(strerror) x(error_is_fatal) \
	x(alert_get) x(alert_get_name) x(alert_send_appropriate) \
	x(transport_set_int2) x(priority_set_direct) x(credentials_set) x(session_set_ptr) \
	x(session_get_ptr) x(psk_allocate_client_credentials) x(psk_free_client_credentials) \
	x(psk_set_client_credentials) x(psk_allocate_server_credentials) x(psk_free_server_credentials) \
	x(psk_set_server_credentials_function) x(certificate_allocate_credentials) x(certificate_free_credentials) \
	x(certificate_set_x509_trust_file) x(certificate_set_x509_key_file) x(certificate_server_set_request) \
	x(session_set_verify_cert2) x(session_get_verify_cert_status) x(certificate_verification_status_print)
struct vio_tls_library {
#define VIO_TLS_DECLARE(name) __typeof__(gnutls_##name) *name;
	VIO_TLS_FUNCTIONS(VIO_TLS_DECLARE)
#undef VIO_TLS_DECLARE
	gnutls_alloc_function *malloc;
	gnutls_free_function *free;
};
const struct vio_tls_library *vio_tls_library(char *why);	/* NULL: why */

/* ---- channel_tls_keys.c ---- */

enum { VMM_PSKS = 64, VMM_PSK_NAME = 128, VMM_PSK_KEY = 64 };
struct vio_tls_keys {
	const struct vio_tls_library *lib;
	unsigned psks;			/* 0: certificates */
	struct vmm_psk { char name[VMM_PSK_NAME + 1]; unsigned bytes; unsigned char key[VMM_PSK_KEY]; } psk[VMM_PSKS];
	gnutls_psk_client_credentials_t psk_client;
	gnutls_psk_server_credentials_t psk_server;
	gnutls_certificate_credentials_t certificates;
};
struct vio_tls_keys *vio_tls_keys_open(const struct vio_tls *t, char *why);
void vio_tls_keys_close(struct vio_tls_keys *k);
#endif
