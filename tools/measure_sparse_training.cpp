// Sums of rows of float32 or bfloat16, in float32: see measure_sparse_training.py.
#include <cstdint>
#include <cstring>
#include <vector>
typedef float f32x16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef uint16_t u16x16 __attribute__((vector_size(32), aligned(2), may_alias));
typedef uint32_t u32x16 __attribute__((vector_size(64)));
static inline f32x16 row(const float* p) { return *(const f32x16*)p; }
static inline f32x16 row(const uint16_t* p) { return (f32x16)(__builtin_convertvector(*(const u16x16*)p, u32x16) << 16); }

// out[i][c] = sum of rows[j][c] over the j with fired[i * step_i + j * step_j] != 0; rows in slabs of 64 columns.
template <class T> static void add(const uint8_t* fired, int n, int m, long step_i, long step_j, const T* rows, int columns, float* out) {
    std::vector<int> list(size_t(n) * m), start(n + 1);
    int count = 0;
    for (int i = 0; i < n; ++i) {
        start[i] = count;
        for (int j = 0; j < m; ++j) { list[count] = j; count += fired[i * step_i + j * step_j]; }
    }
    start[n] = count;
    const int block = 1024;   // rows of a slab that stay in the second-level cache
    std::memset(out, 0, sizeof(float) * n * columns);
    for (int first = 0; first < m; first += block)
    for (int slab = 0; slab < columns / 64; ++slab) {
        const T* base = rows + size_t(slab) * m * 64;
        for (int i = 0; i < n; ++i) {
            int k = start[i], end = start[i + 1];
            if (m > block) {   // the part of the list that lies in this block
                while (k < end && list[k] < first) ++k;
                int last = k;
                while (last < end && list[last] < first + block) ++last;
                end = last;
            }
            float* o = out + size_t(i) * columns + slab * 64;
            f32x16 a = row(o), b = row(o + 16), c = row(o + 32), d = row(o + 48);
            for (; k < end; ++k) {
                const T* r = base + size_t(list[k]) * 64;
                a += row(r); b += row(r + 16); c += row(r + 32); d += row(r + 48);
            }
            std::memcpy(o, &a, 64); std::memcpy(o + 16, &b, 64); std::memcpy(o + 32, &c, 64); std::memcpy(o + 48, &d, 64);
        }
    }
}
extern "C" void add_f32(const uint8_t* f, int n, int m, long si, long sj, const float* r, int c, float* o) { add(f, n, m, si, sj, r, c, o); }
extern "C" void add_bf16(const uint8_t* f, int n, int m, long si, long sj, const uint16_t* r, int c, float* o) { add(f, n, m, si, sj, r, c, o); }
