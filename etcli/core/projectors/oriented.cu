// The oriented projector on a GPU: Joseph's method for views of any orientation.
//
// A ray crosses each plane of voxels once, at row a and column b, and samples the four nearest voxels there
// by bilinear interpolation. The ray of pixel (u, v) crosses plane p at
// a = frame[3] + u frame[0] + v frame[1] + p frame[2]; b follows in the same way from frame[4...7].
//
// Each thread computes its own result, so that no two threads add to the same number: a projection sums the
// voxels along a ray, a back-projection the few pixels whose rays pass within one row and column of a voxel.

// Positions are fixed-point numbers with 32 fractional bits: steps add up exactly, and floor is a shift.
typedef long long Place;

static __device__ __forceinline__ int whole(Place place) { return (int)(place >> 32); }

static __device__ __forceinline__ float fraction(Place place) {
    return __uint_as_float(((unsigned)place >> 9) | 0x3f800000u) - 1.0f;
}

// 1 - |distance| where that is positive
static __device__ __forceinline__ float hat(Place distance) {
    Place one = (Place)1 << 32;
    Place left = one - (distance < 0 ? -distance : distance);
    return left >= one ? 1.0f : left > 0 ? fraction(left) : 0.0f;
}

// Project to views for which the volume has n_p planes, n_a rows and n_b columns; the pitches are in floats.
extern "C" __global__ void project_planes(
    const float *__restrict__ volume, int n_p, int n_a, int n_b, int pitch_p, int pitch_a, int pitch_b,
    const int *__restrict__ views, const Place *__restrict__ frames, const float *__restrict__ scales,
    float *__restrict__ images, int n_v, int n_u) {
    int u = blockIdx.x * blockDim.x + threadIdx.x, v = blockIdx.y * blockDim.y + threadIdx.y, k = blockIdx.z;
    if (u >= n_u || v >= n_v) return;
    const Place *frame = frames + 8 * k;
    Place a = frame[3] + u * frame[0] + v * frame[1], b = frame[7] + u * frame[4] + v * frame[5];
    float sum = 0.0f;
    for (int p = 0; p < n_p; ++p, a += frame[2], b += frame[6]) {
        int row = whole(a), column = whole(b);
        if (row < -1 || row >= n_a || column < -1 || column >= n_b) continue;
        const float *near = volume + (long long)p * pitch_p + (long long)row * pitch_a
                            + (long long)column * pitch_b;
        bool here = row >= 0, next = row + 1 < n_a, left = column >= 0, right = column + 1 < n_b;
        float far_a = fraction(a), far_b = fraction(b);
        float first = (here && left ? near[0] : 0.0f) * (1.0f - far_b);
        first += (here && right ? near[pitch_b] : 0.0f) * far_b;
        float second = (next && left ? near[pitch_a] : 0.0f) * (1.0f - far_b);
        second += (next && right ? near[(long long)pitch_a + pitch_b] : 0.0f) * far_b;
        sum += first * (1.0f - far_a) + second * far_a;
    }
    images[((long long)views[k] * n_v + v) * n_u + u] = sum * scales[k];
}

// Add the pixels of some views to every voxel. plane, row and column are the axes with these roles (0 is x);
// inverse holds the change of u with row and column, then that of v.
extern "C" __global__ void backproject_planes(
    const float *__restrict__ images, int n_v, int n_u, const int *__restrict__ views, int n_views,
    const Place *__restrict__ frames, const float *__restrict__ inverse, const float *__restrict__ scales,
    float *__restrict__ volume, int n_z, int n_y, int n_x, int plane, int row, int column) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y, z = blockIdx.z;
    if (x >= n_x || y >= n_y) return;
    int p = plane == 0 ? x : plane == 1 ? y : z;
    Place a = (Place)(row == 0 ? x : row == 1 ? y : z) << 32;
    Place b = (Place)(column == 0 ? x : column == 1 ? y : z) << 32;
    float total = 0.0f;
    for (int k = 0; k < n_views; ++k) {
        const Place *frame = frames + 8 * k;
        const float *turn = inverse + 4 * k;
        Place a0 = frame[3] + p * frame[2] - a, b0 = frame[7] + p * frame[6] - b;
        float far_a = (float)a0 * (-1.0f / 4294967296.0f), far_b = (float)b0 * (-1.0f / 4294967296.0f);
        float u = turn[0] * far_a + turn[1] * far_b, reach_u = fabsf(turn[0]) + fabsf(turn[1]) + 0.01f;
        float v = turn[2] * far_a + turn[3] * far_b, reach_v = fabsf(turn[2]) + fabsf(turn[3]) + 0.01f;
        // clipped as floats: what is far away may not fit into an integer
        int first_u = (int)ceilf(fmaxf(u - reach_u, 0.0f)), first_v = (int)ceilf(fmaxf(v - reach_v, 0.0f));
        int last_u = (int)floorf(fminf(u + reach_u, n_u - 1.0f));
        int last_v = (int)floorf(fminf(v + reach_v, n_v - 1.0f));
        const float *image = images + (long long)views[k] * n_v * n_u;
        float sum = 0.0f;
        for (int j = first_v; j <= last_v; ++j)
            for (int i = first_u; i <= last_u; ++i) {
                float weight = hat(a0 + i * frame[0] + j * frame[1]) * hat(b0 + i * frame[4] + j * frame[5]);
                if (weight > 0.0f) sum += weight * image[(long long)j * n_u + i];
            }
        total += scales[k] * sum;
    }
    volume[((long long)z * n_y + y) * n_x + x] += total;
}
