/* Loaded before the C library: a disk that takes 50 ms longer to keep what it was given. */
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void wait_longer(void) {
    struct timespec left = {0, 50 * 1000 * 1000};
    while (nanosleep(&left, &left)) {
    }
}

int fsync(int descriptor) {
    wait_longer();
    return (int)syscall(SYS_fsync, descriptor);
}

int fdatasync(int descriptor) {
    wait_longer();
    return (int)syscall(SYS_fdatasync, descriptor);
}
