/* libevdev, loaded by the process that needs it: no other daemon is larger for it. */
#ifndef VIO_HOST_EVDEV_H
#define VIO_HOST_EVDEV_H
#if VIO_HAVE_EVDEV
#include <libevdev/libevdev.h>
#include <vio/spec/types.h>

#define VIO_EVDEV_FUNCTIONS(X) \
	X(new_from_fd) X(free) X(grab) X(next_event) X(get_name) X(get_uniq) X(get_id_bustype) X(get_id_vendor) X(get_id_product) \
	X(get_id_version) X(has_property) X(has_event_type) X(has_event_code) X(get_abs_info) X(get_event_value) \
	X(event_type_get_name) X(event_code_get_name) X(event_type_from_name) X(event_type_from_code_name) \
	X(event_code_from_code_name)

#define VIO_EVDEV_POINTER(name) __typeof__(&libevdev_##name) name;
struct vio_evdev_lib { VIO_EVDEV_FUNCTIONS(VIO_EVDEV_POINTER) };

/* NULL: why says what is missing. */
const struct vio_evdev_lib *vio_evdev_lib(char *why);
#endif
#endif
