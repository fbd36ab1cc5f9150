/* Loaded before the C library: a disk that says "written" and has written nothing. */
int fsync(int descriptor) {
    (void)descriptor;
    return 0;
}

int fdatasync(int descriptor) {
    (void)descriptor;
    return 0;
}
