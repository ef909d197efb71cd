/* Seeded random numbers: xoshiro256** (Blackman and Vigna), filled by splitmix64. */
#include "zoo.h"

#include <math.h>

static uint64_t state[4];

static uint64_t rotate(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

static uint64_t next(void) {
    uint64_t result = rotate(state[1] * 5, 7) * 9, t = state[1] << 17;
    state[2] ^= state[0], state[3] ^= state[1], state[1] ^= state[2], state[0] ^= state[3];
    state[2] ^= t, state[3] = rotate(state[3], 45);
    return result;
}

void seed_random(uint64_t seed) {
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        state[i] = z ^ (z >> 31);
    }
}

double uniform(void) { return ((double)(next() >> 11) + 0.5) * 0x1p-53; }

double normal(void) {
    /* Box and Muller; the second number is thrown away, so that request n always uses the same draws. */
    double radius = sqrt(-2 * log(uniform()));
    return radius * cos(2 * 3.14159265358979323846 * uniform());
}

double exponential(double mean) { return -mean * log(uniform()); }
