/* Holds memory: hog MIB zero|same|random MILLISECONDS.
 *
 * Fills its pages, says "filled" on standard output, then writes to each of them every so many milliseconds (0: never),
 * leaving their content as it was. A page of "same" repeats its own number: no two are equal within a guest, but the same
 * hog in another guest has them all too, for the host to merge; and it compresses to nothing. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, WORDS = PAGE / sizeof(uint64_t) };

static uint64_t state; /* of Marsaglia's xorshift64, which must not be 0 */

static uint64_t zero(uint64_t page)
{
    (void)page;
    return 0;
}

static uint64_t same(uint64_t page)
{
    return page + 1;
}

static uint64_t random_word(uint64_t page)
{
    (void)page;
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static const struct {
    const char *name;
    uint64_t (*next_word)(uint64_t page);
} CONTENTS[] = {{"zero", zero}, {"same", same}, {"random", random_word}};

/* The guest's out-of-memory killer shall take the hog, not the shell that answers the laboratory. */
static int volunteer(void)
{
    int file = open("/proc/self/oom_score_adj", O_WRONLY);
    return file >= 0 && write(file, "1000", 4) == 4 && close(file) == 0;
}

int main(int argc, char **argv)
{
    size_t kinds = sizeof CONTENTS / sizeof *CONTENTS, kind = 0;
    while (argc == 4 && kind < kinds && strcmp(argv[2], CONTENTS[kind].name))
        kind++;
    if (argc != 4 || kind == kinds || !volunteer())
        return 2;
    size_t pages = strtoul(argv[1], NULL, 10) * 256;
    long milliseconds = strtol(argv[3], NULL, 10);
    int source = open("/dev/urandom", O_RDONLY);
    if (source < 0 || read(source, &state, sizeof state) != sizeof state)
        return 1;
    state |= 1;

    uint64_t *memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    for (size_t page = 0; page < pages; page++)
        for (size_t word = 0; word < WORDS; word++)
            memory[page * WORDS + word] = CONTENTS[kind].next_word(page);
    puts("filled");
    fclose(stdout);

    if (milliseconds == 0)
        pause();
    struct timespec interval = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    for (;;) {
        nanosleep(&interval, NULL);
        for (size_t page = 0; page < pages; page++) {
            volatile uint64_t *first = &memory[page * WORDS];
            *first = *first;
        }
    }
}
