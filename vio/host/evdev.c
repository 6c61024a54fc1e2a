/* libevdev, and the names that it knows. */
#include <vio/host/events.h>
#include <vio/host/why.h>

#if VIO_HAVE_EVDEV
#include <dlfcn.h>
#include <vio/host/evdev.h>

static struct vio_evdev_lib lib;
static bool loaded;

const struct vio_evdev_lib *vio_evdev_lib(char *why)
{
	if (loaded)
		return &lib;
	void *so = dlopen("libevdev.so.2", RTLD_NOW);
	if (!so) {
		vio_refuse(why, "libevdev is not installed: install libevdev2");
		return NULL;
	}
#define LOAD(name) \
	if (!(lib.name = (__typeof__(lib.name))(uintptr_t)dlsym(so, "libevdev_" #name))) { \
		vio_refuse(why, "libevdev is too old, it has no libevdev_" #name ": install version 1.9 or a later one"); \
		return NULL; \
	}
	VIO_EVDEV_FUNCTIONS(LOAD)
	loaded = true;
	return &lib;
}

bool vio_event_names(char *why) { return vio_evdev_lib(why) != NULL; }

bool vio_event_type(const char *name, uint16_t *type)
{
	int n = loaded ? lib.event_type_from_name(name) : -1;

	*type = (uint16_t)n;
	return n >= 0;
}

bool vio_event_code(const char *name, uint16_t *type, uint16_t *code)
{
	int t = loaded ? lib.event_type_from_code_name(name) : -1, c = loaded ? lib.event_code_from_code_name(name) : -1;

	*type = (uint16_t)t;
	*code = (uint16_t)c;
	return t >= 0 && c >= 0;
}

const char *vio_event_type_name(uint16_t type) { return loaded ? lib.event_type_get_name(type) : NULL; }
const char *vio_event_code_name(uint16_t type, uint16_t code) { return loaded ? lib.event_code_get_name(type, code) : NULL; }
#else
bool vio_event_names(char *why)
{
	return vio_refuse(why, "this vio was built without libevdev: build it where libevdev-dev is installed");
}

struct vio_events *vio_events_evdev(const struct vio_evdev_options *o, char *why)
{
	(void)o;
	vio_event_names(why);
	return NULL;
}

bool vio_events_evdev_plug(struct vio_events *e, int fd, char *why) { return (void)e, (void)fd, vio_event_names(why); }
uint64_t vio_events_evdev_resyncs(const struct vio_events *e) { return (void)e, 0; }
bool vio_event_type(const char *name, uint16_t *type) { return (void)name, (void)type, false; }
bool vio_event_code(const char *name, uint16_t *type, uint16_t *code) { return (void)name, (void)type, (void)code, false; }
const char *vio_event_type_name(uint16_t type) { return (void)type, NULL; }
const char *vio_event_code_name(uint16_t type, uint16_t code) { return (void)type, (void)code, NULL; }
#endif
