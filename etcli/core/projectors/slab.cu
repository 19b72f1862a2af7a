// The slab projector on a GPU: the loops of _kernels.py and formulas of _footprints.py for NVIDIA's compiler.
//
// A thread works on four neighbouring slices, which are innermost in memory, so that a warp reads whole
// lines. A projection sums the voxels along some neighbouring rays, a back-projection the pixels that some
// neighbouring voxels project to. Neighbours use almost the same rows, which slide through a window of
// registers, so that each row is loaded once for all of them; the weights of a voxel in a view serve all
// slices of a thread. No two threads add to the same number, so the result is the same in every run.
//
// Threads of a block use the same voxels in neighbouring directions (projection), or the same pixels for a
// tile of voxels (back-projection): what one thread has loaded, the others find in the cache.

#define RUN 8      // rays or voxels per thread
#define BLOCK 256  // largest number of threads in a block

// Positions are fixed-point numbers with 32 fractional bits: steps add up exactly, and floor is a shift.
typedef long long Place;

enum Formula { HAT, AREA, SHARES };

struct Shape {
    float near, spread, height, half, flat, bend;
};

static __device__ __forceinline__ int whole(Place place) { return (int)(place >> 32); }

static __device__ __forceinline__ float fraction(Place place) {
    return __uint_as_float(((unsigned)place >> 9) | 0x3f800000u) - 1.0f;
}

static __device__ __forceinline__ void add(float4 &sum, float weight, const float4 &row) {
    sum.x += weight * row.x;
    sum.y += weight * row.y;
    sum.z += weight * row.z;
    sum.w += weight * row.w;
}

// Integral of a voxel's projection from its centre to u.
static __device__ __forceinline__ float integral(float u, const Shape &shape) {
    float end = fminf(fabsf(u), shape.half);
    float slope = fmaxf(end - shape.flat, 0.0f);
    return copysignf(end * shape.height - slope * slope * shape.bend, u);
}

// Weights of neighbours, the first of which is at a given distance from a position.
template <int FORMULA, int TAPS>
static __device__ __forceinline__ void weigh(float distance, const Shape &shape, float (&weight)[TAPS]) {
    if (FORMULA == HAT) {  // near, slope, scale
        for (int j = 0; j < TAPS; ++j)
            weight[j] = fmaxf(1.0f - fabsf(distance + j) * shape.spread, 0.0f) * shape.height;
    } else if (FORMULA == AREA) {
        for (int j = 0; j < TAPS; ++j) {
            float u = fabsf(distance + j) * shape.spread;
            weight[j] = integral(u + 0.5f, shape) - integral(u - 0.5f, shape);
        }
    } else {
        float lower = -0.5f;
        for (int j = 0; j < TAPS; ++j) {
            float upper = j < TAPS - 1 ? integral(distance + (j + 0.5f), shape) : 0.5f;
            weight[j] = upper - lower;
            lower = upper;
        }
    }
}

// Rows of four slices, zero outside.
struct Rows {
    const float4 *start;
    long long pitch;
    int n;

    __device__ __forceinline__ float4 operator()(int i) const {
        if ((unsigned)i < (unsigned)n) return start[i * pitch];
        return make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    }
};

// Window of neighbouring rows; moving it by one loads one new row.
template <int TAPS> struct Window {
    float4 row[TAPS];
    int first;

    __device__ __forceinline__ void begin(const Rows &rows, int at) {
        first = at;
#pragma unroll
        for (int j = 0; j < TAPS; ++j) row[j] = rows(at + j);
    }

    __device__ __forceinline__ void move(const Rows &rows, int at) {
        int moved = at - first;
        if (moved == 0) return;
        if (moved == 1) {
#pragma unroll
            for (int j = 0; j + 1 < TAPS; ++j) row[j] = row[j + 1];
            row[TAPS - 1] = rows(at + TAPS - 1);
            first = at;
        } else if (moved == -1) {
#pragma unroll
            for (int j = TAPS - 1; j > 0; --j) row[j] = row[j - 1];
            row[0] = rows(at);
            first = at;
        } else {
            begin(rows, at);
        }
    }
};

// Add the weighted rows near the positions place, place + step... to RUN sums.
template <int FORMULA, int TAPS>
static __device__ __forceinline__ void gather(
    float4 (&sum)[RUN], const Rows &rows, Place place, Place step, const Shape &shape) {
    int low = whole(place), high = whole(place + (RUN - 1) * step);
    if ((low >= rows.n && high >= rows.n) || (low + TAPS <= 0 && high + TAPS <= 0)) return;
    Window<TAPS> window;
    window.begin(rows, low);
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
        window.move(rows, whole(place));
        float weight[TAPS];
        weigh<FORMULA, TAPS>(shape.near - fraction(place), shape, weight);
#pragma unroll
        for (int i = 0; i < TAPS; ++i) add(sum[j], weight[i], window.row[i]);
        place += step;
    }
}

// Project to views whose rays cross the lines of the volume: its rows, or columns if transposed. Ray i of
// view k crosses line v at voxel places[k][0] + i places[k][1] + v places[k][2]. Pitches: in rows of slices.
template <int FORMULA, int TAPS>
static __device__ __forceinline__ void project(
    const float4 *volume, int n_lines, int n_u, int line_pitch, int u_pitch, const int *views, int n_views,
    const Place *places, const Shape *shapes, float4 *sinogram, int n_detector, int n_fours) {
    int four = blockIdx.z * blockDim.x + threadIdx.x;
    int ray = (blockIdx.x * blockDim.y + threadIdx.y) * RUN;
    int k = blockIdx.y * blockDim.z + threadIdx.z;
    if (four >= n_fours || ray >= n_detector || k >= n_views) return;
    float4 sum[RUN];
#pragma unroll
    for (int j = 0; j < RUN; ++j) sum[j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    Shape shape = shapes[k];
    Place step = places[3 * k + 1], per_line = places[3 * k + 2];
    Place place = places[3 * k] + ray * step;
    Rows rows = {volume + four, (long long)u_pitch * n_fours, n_u};
    for (int v = 0; v < n_lines; ++v) {
        gather<FORMULA, TAPS>(sum, rows, place, step, shape);
        rows.start += (long long)line_pitch * n_fours;
        place += per_line;
    }
    float4 *target = sinogram + ((long long)views[k] * n_detector + ray) * n_fours + four;
#pragma unroll
    for (int j = 0; j < RUN; ++j)
        if (ray + j < n_detector) target[(long long)j * n_fours] = sum[j];
}

#define PROJECTION(NAME, FORMULA, TAPS, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS) NAME(                                        \
        const float4 *__restrict__ volume, int n_lines, int n_u, int line_pitch, int u_pitch,                \
        const int *__restrict__ views, int n_views, const Place *__restrict__ places,                        \
        const Shape *__restrict__ shapes, float4 *__restrict__ sinogram, int n_detector, int n_fours) {      \
        project<FORMULA, TAPS>(volume, n_lines, n_u, line_pitch, u_pitch, views, n_views, places, shapes,    \
                               sinogram, n_detector, n_fours);                                               \
    }

// Correction of a volume by a back-projection: gain of each voxel, voxels that may change, and bounds.
struct Correction {
    const float *gain;
    const bool *inside;
    float lower, upper;

    __device__ __forceinline__ float operator()(float value, float gain, float change) const {
        return fminf(fmaxf(value + gain * change, lower), upper);
    }

    __device__ __forceinline__ void apply(long long voxel, const float4 &change, float4 &value) const {
        if (!inside[voxel]) return;
        float own = gain[voxel];
        value = make_float4((*this)(value.x, own, change.x), (*this)(value.y, own, change.y),
                            (*this)(value.z, own, change.z), (*this)(value.w, own, change.w));
    }
};

// Sum, for every voxel, the pixels of all views near places[k][0] + x places[k][1] + z places[k][2]; store
// the sum, or correct the voxel by it.
template <int FORMULA, int TAPS, bool CORRECT>
static __device__ __forceinline__ void backproject(
    const float4 *sinogram, int n_views, int n_detector, const Place *places, const Shape *shapes,
    float4 *volume, int z0, int n_z, int n_x, int n_fours, Correction correction) {
    int four = blockIdx.z * blockDim.x + threadIdx.x;
    int x = (blockIdx.x * blockDim.y + threadIdx.y) * RUN;
    int z = blockIdx.y * blockDim.z + threadIdx.z;
    if (four >= n_fours || x >= n_x || z >= n_z) return;
    float4 sum[RUN];
#pragma unroll
    for (int j = 0; j < RUN; ++j) sum[j] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
    Rows rows = {sinogram + four, n_fours, n_detector};
    for (int k = 0; k < n_views; ++k) {
        Place step = places[3 * k + 1];
        Place place = places[3 * k] + x * step + (z0 + z) * places[3 * k + 2];
        gather<FORMULA, TAPS>(sum, rows, place, step, shapes[k]);
        rows.start += (long long)n_detector * n_fours;
    }
    long long voxel = (long long)z * n_x + x;
#pragma unroll
    for (int j = 0; j < RUN; ++j) {
        if (x + j >= n_x) break;
        float4 *target = volume + (voxel + j) * n_fours + four;
        if (CORRECT)
            correction.apply(voxel + j, sum[j], *target);
        else
            *target = sum[j];
    }
}

#define BACKPROJECTION(NAME, FORMULA, TAPS, BLOCKS)                                                          \
    extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS) NAME(                                        \
        const float4 *__restrict__ sinogram, int n_views, int n_detector, const Place *__restrict__ places,  \
        const Shape *__restrict__ shapes, float4 *__restrict__ volume, int z0, int n_z, int n_x,             \
        int n_fours) {                                                                                       \
        backproject<FORMULA, TAPS, false>(sinogram, n_views, n_detector, places, shapes, volume, z0, n_z,    \
                                          n_x, n_fours, Correction());                                       \
    }

#define CORRECTION(NAME, FORMULA, TAPS, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS) NAME(                                        \
        const float4 *__restrict__ sinogram, int n_views, int n_detector, const Place *__restrict__ places,  \
        const Shape *__restrict__ shapes, float4 *__restrict__ volume, int n_z, int n_x, int n_fours,        \
        const float *__restrict__ gain, const bool *__restrict__ inside, float lower, float upper) {         \
        Correction correction = {gain, inside, lower, upper};                                                \
        backproject<FORMULA, TAPS, true>(sinogram, n_views, n_detector, places, shapes, volume, 0, n_z, n_x, \
                                         n_fours, correction);                                               \
    }

// The last number is how many blocks should fit on a multiprocessor: it limits the registers per thread.
PROJECTION(project_hat, HAT, 2, 3)
PROJECTION(project_area, AREA, 4, 2)
BACKPROJECTION(backproject_hat, HAT, 2, 3)
BACKPROJECTION(backproject_shares, SHARES, 3, 3)
CORRECTION(correct_hat, HAT, 2, 3)
CORRECTION(correct_shares, SHARES, 3, 3)
