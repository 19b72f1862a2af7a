// Elementwise loops and sums of the solvers on a GPU: the numba functions of this folder as CUDA kernels.
//
// The first three arguments are the shape of the first array, with leading ones where it has fewer axes. Loops
// use one thread per element. Sums use one thread per partial sum: thread k adds the elements whose index is k
// modulo the number of partial sums. This number is a multiple of the number of slices, so that each partial
// sum belongs to one slice. The order of all sums is the same in every run.

#define SHAPE int n_z, int n_x, int n
#define SUMS SHAPE, double *__restrict__ partial, int n_partial
#define IN const float *__restrict__
#define OUT float *__restrict__

// i is the index of an element; nothing is done beyond the last one.
#define EACH(i)                                                                                              \
    long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;                                          \
    if (i >= (long long)n_z * n_x * n) return;

// Sum TERM, a function of the index i, over the elements of a thread.
#define SUM(i, TERM)                                                                                         \
    int own = blockIdx.x * blockDim.x + threadIdx.x;                                                         \
    if (own >= n_partial) return;                                                                            \
    double total = 0.0;                                                                                      \
    for (long long i = own; i < (long long)n_z * n_x * n; i += n_partial) {                                  \
        TERM;                                                                                                \
    }                                                                                                        \
    partial[own] = total;

static __device__ __forceinline__ float clip(float value, float lower, float upper) {
    return fminf(fmaxf(value, lower), upper);
}

#define KERNEL extern "C" __global__ void

// Any array

KERNEL squares(SUMS, IN values) {
    SUM(i, total += values[i] * values[i])
}

// SIRT and SART

KERNEL weigh_residual(SUMS, IN sinogram, float *projected, IN weight) {
    SUM(i, float difference = sinogram[i] - projected[i]; projected[i] = weight[i / n] * difference;
        total += difference * difference)
}

KERNEL correct(SHAPE, OUT volume, IN correction, IN gain, const bool *__restrict__ inside, float lower,
               float upper) {
    EACH(i)
    long long row = i / n;
    if (inside[row]) volume[i] = clip(volume[i] + gain[row] * correction[i], lower, upper);
}

// MLEM

KERNEL divide(SUMS, IN sinogram, float *projected) {
    SUM(i, float measured = sinogram[i]; float expected = projected[i];
        total += (measured - expected) * (measured - expected);
        projected[i] = expected > 0 && measured > 0 ? fminf(measured / expected, 1e30f) : 0.0f)
}

KERNEL multiply(SHAPE, OUT volume, IN factor, IN gain, float upper) {
    EACH(i)
    volume[i] = fminf(volume[i] * gain[i / n] * factor[i], upper);
}

// CGLS

KERNEL add_by_slice(SHAPE, OUT values, IN factor, IN others) {
    EACH(i)
    values[i] += factor[i % n] * others[i];
}

KERNEL turn_by_slice(SHAPE, OUT values, IN factor, IN others) {
    EACH(i)
    values[i] = others[i] + factor[i % n] * values[i];
}

// SIRT with momentum

KERNEL weigh(SHAPE, IN measured, OUT projected, IN weight) {
    EACH(i)
    float difference = measured[i] - projected[i];
    projected[i] = isnan(difference) ? 0.0f : weight[i / n] * difference;
}

KERNEL step_by_slice(SUMS, IN volume, IN ahead, OUT step, IN gain, float lower, float upper) {
    SUM(i, float next = clip(ahead[i] + gain[i / n] * step[i], lower, upper);
        total += (ahead[i] - next) * (next - volume[i]); step[i] = next)
}

KERNEL extrapolate_by_slice(SHAPE, OUT volume, OUT ahead, IN next, IN momentum) {
    EACH(i)
    ahead[i] = next[i] + momentum[i % n] * (next[i] - volume[i]);
    volume[i] = next[i];
}

// Momentum of a whole volume

KERNEL turn(SUMS, IN volume, IN ahead, IN next) {
    SUM(i, total += (ahead[i] - next[i]) * (next[i] - volume[i]))
}

KERNEL extrapolate(SHAPE, IN volume, IN next, OUT ahead, float momentum) {
    EACH(i)
    ahead[i] = next[i] + momentum * (next[i] - volume[i]);
}

// Total variation of a volume; the dual has three components, one after the other

KERNEL image_3d(SHAPE, const float *volume, IN dual, float weight, float lower, float upper, float *image) {
    EACH(i)
    long long plane = (long long)n_x * n, size = n_z * plane;
    long long z = i / plane, x = i / n % n_x, k = i % n;
    float divergence = dual[i] + dual[size + i] + dual[2 * size + i];
    if (z > 0) divergence -= dual[i - plane];
    if (x > 0) divergence -= dual[size + i - n];
    if (k > 0) divergence -= dual[2 * size + i - 1];
    image[i] = clip(volume[i] + weight * divergence, lower, upper);
}

KERNEL improve_3d(SHAPE, IN image, OUT dual, OUT ahead, float step, float momentum) {
    EACH(i)
    long long plane = (long long)n_x * n, size = n_z * plane;
    long long z = i / plane, x = i / n % n_x, k = i % n;
    float at = image[i], p[3] = {ahead[i], ahead[size + i], ahead[2 * size + i]};
    if (z < n_z - 1) p[0] += step * (image[i + plane] - at);
    if (x < n_x - 1) p[1] += step * (image[i + n] - at);
    if (k < n - 1) p[2] += step * (image[i + 1] - at);
    float shrink = 1.0f / fmaxf(1.0f, sqrtf(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]));
    for (int j = 0; j < 3; ++j) {
        long long place = j * size + i;
        float next = p[j] * shrink;
        ahead[place] = next + momentum * (next - dual[place]);
        dual[place] = next;
    }
}

// Total variation of every slice; the dual has two components

KERNEL squared_distance(SUMS, IN sinogram, IN projected) {
    SUM(i, float difference = sinogram[i] - projected[i]; total += difference * difference)
}

KERNEL descend(SHAPE, OUT back, IN ahead, float scale) {
    EACH(i)
    back[i] = ahead[i] + scale * back[i];
}

KERNEL set_image(SHAPE, IN point, IN dual, float lower, float upper, const bool *__restrict__ free,
                 OUT image) {
    EACH(i)
    if (!free[i]) return;
    long long plane = (long long)n_x * n, size = n_z * plane;
    float divergence = dual[i] + dual[size + i];
    if (i / plane > 0) divergence -= dual[i - plane];
    if (i / n % n_x > 0) divergence -= dual[size + i - n];
    image[i] = clip(point[i] + divergence, lower, upper);
}

KERNEL step_dual(SHAPE, IN image, OUT dual, IN weight) {
    EACH(i)
    long long plane = (long long)n_x * n, size = n_z * plane;
    float along_z = dual[i], along_x = dual[size + i], radius = weight[i % n];
    if (i / plane < n_z - 1) along_z += 0.125f * (image[i + plane] - image[i]);
    if (i / n % n_x < n_x - 1) along_x += 0.125f * (image[i + n] - image[i]);
    float length = sqrtf(along_z * along_z + along_x * along_x) + 1e-30f;
    float shrink = radius / fmaxf(radius, length);
    dual[i] = shrink * along_z;
    dual[size + i] = shrink * along_x;
}

KERNEL extrapolate_image(SHAPE, OUT volume, OUT image, float momentum) {
    EACH(i)
    float next = image[i];
    image[i] = next + momentum * (next - volume[i]);
    volume[i] = next;
}

// DART

KERNEL classify(SHAPE, IN volume, IN edges, int n_edges, unsigned char *__restrict__ classes) {
    EACH(i)
    unsigned char reached = 0;
    for (int k = 0; k < n_edges; ++k) reached += volume[i] >= edges[k];
    classes[i] = reached;
}

KERNEL paint(SHAPE, const unsigned char *__restrict__ classes, IN grey, OUT volume) {
    EACH(i)
    volume[i] = grey[classes[i]];
}

KERNEL fix(SHAPE, OUT volume, IN classified, const bool *__restrict__ free) {
    EACH(i)
    if (!free[i]) volume[i] = classified[i];
}

KERNEL set_free(SHAPE, const unsigned char *__restrict__ classes, const bool *__restrict__ chosen,
                bool *__restrict__ free) {
    EACH(i)
    int z = i / n / n_x, x = i / n % n_x;
    bool found = chosen[i / n];
    for (int row = max(z - 1, 0); row < min(z + 2, n_z); ++row)
        for (int column = max(x - 1, 0); column < min(x + 2, n_x); ++column)
            found = found || classes[i] != classes[((long long)row * n_x + column) * n + i % n];
    free[i] = found;
}
