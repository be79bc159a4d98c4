// Elementary functions on 16 lanes, by polynomials that we fitted (least maximum error over the reduced range). Errors
// stay within 4 units in the last place except near zeros of Log and Tanh's switch; tests measure them.
#pragma once

// Lanes comes from the lanes_<isa>.hpp that was included before.

namespace openbpu::kernels::cpu {
namespace {

// e^r - 1 - r = r^2 * this, |r| <= log(2) / 2.
inline Lanes exp_tail(Lanes r) {
  Lanes p = fma(spread(1.395083242e-3f), r, spread(8.369088397e-3f));
  p = fma(p, r, spread(4.166620068e-2f));
  p = fma(p, r, spread(1.666651718e-1f));
  return fma(p, r, spread(5.000000097e-1f));
}

inline Lanes exponential(Lanes x) {
  const Lanes bounded = larger(smaller(x, spread(89.0f)), spread(-105.0f));
  const Lanes n = nearest(bounded * spread(1.44269504f));
  Lanes r = fma(n, spread(-0.693359375f), bounded);
  r = fma(n, spread(2.12194440e-4f), r);
  const Lanes e = fma(exp_tail(r), r * r, r) + spread(1.0f);
  return choose(is_nan(x), x, scaled(e, n));
}

// e^x - 1 without cancellation.
inline Lanes exponential_less_one(Lanes x) {
  const Lanes small = fma(exp_tail(x), x * x, x);
  return choose(absolute(x) < spread(0.34657359f), small, exponential(x) - spread(1.0f));
}

inline Lanes logarithm(Lanes x) {
  const Mask tiny = x < spread(1.17549435e-38f);
  const Lanes normal = choose(tiny, x * spread(8388608.0f), x);
  Lanes exponent;
  Lanes m = split(normal, exponent);
  exponent = choose(tiny, exponent - spread(23.0f), exponent);
  const Mask low = m < spread(0.70710678f);
  exponent = choose(low, exponent - spread(1.0f), exponent);
  const Lanes f = choose(low, m + m, m) - spread(1.0f);
  Lanes p = fma(spread(6.916387341e-2f), f, spread(-1.179159465e-1f));
  p = fma(p, f, spread(1.187347464e-1f));
  p = fma(p, f, spread(-1.238409854e-1f));
  p = fma(p, f, spread(1.421856397e-1f));
  p = fma(p, f, spread(-1.666926112e-1f));
  p = fma(p, f, spread(2.000223124e-1f));
  p = fma(p, f, spread(-2.499998648e-1f));
  p = fma(p, f, spread(3.333331038e-1f));
  const Lanes s = f * f;
  Lanes y = fma(exponent, spread(-2.12194440e-4f), p * s * f);
  y = fma(s, spread(-0.5f), y);
  y = fma(exponent, spread(0.693359375f), f + y);
  y = choose(x < spread(3.40282347e38f), y, x);                  // infinity and not-a-number stay
  y = choose(x < spread(1e-45f), spread(-__builtin_inff()), y);  // zero
  return choose(x < spread(0.0f), spread(__builtin_nanf("")), choose(is_nan(x), x, y));
}

// log(1 + e) for e of 0 to 1.
inline Lanes logarithm_of_one_more(Lanes e) {
  const Lanes u = spread(1.0f) + e, grown = u - spread(1.0f);
  return choose(grown < spread(1e-9f), e, logarithm(u) * (e / grown));
}

inline Lanes tangent(Lanes x) {
  const Lanes a = absolute(x), s = x * x;
  Lanes p = fma(spread(-5.717036446e-3f), s, spread(2.065057903e-2f));
  p = fma(p, s, spread(-5.374349534e-2f));
  p = fma(p, s, spread(1.333149125e-1f));
  p = fma(p, s, spread(-3.333328392e-1f));
  const Lanes small = fma(p * s, x, x);
  const Lanes large = spread(1.0f) - spread(2.0f) / (exponential(a + a) + spread(1.0f));
  return choose(a < spread(0.625f), small, choose(is_nan(x), x, with_sign(large, x)));
}

inline Lanes logistic(Lanes x) { return spread(1.0f) / (spread(1.0f) + exponential(spread(0.0f) - x)); }

inline Lanes error_function(Lanes x) {
  const Lanes a = absolute(x), s = x * x;
  Lanes p = fma(spread(7.889117682e-5f), s, spread(-8.020840726e-4f));
  p = fma(p, s, spread(5.189535277e-3f));
  p = fma(p, s, spread(-2.685444456e-2f));
  p = fma(p, s, spread(1.128360018e-1f));
  p = fma(p, s, spread(-3.761262714e-1f));
  p = fma(p, s, spread(1.128379166f));
  const Lanes small = p * x, t = smaller(a, spread(3.95f));
  Lanes q = fma(spread(-2.513375378e-7f), t, spread(2.531496357e-5f));
  q = fma(q, t, spread(-4.637889607e-4f));
  q = fma(q, t, spread(4.282385817e-3f));
  q = fma(q, t, spread(-2.537356236e-2f));
  q = fma(q, t, spread(1.086390064e-1f));
  q = fma(q, t, spread(6.330396058e-1f));
  q = fma(q, t, spread(1.129661160f));
  q = fma(q, t, spread(-2.043604691e-4f));
  const Lanes large = with_sign(spread(1.0f) - exponential(spread(0.0f) - q), x);
  return choose(a < spread(1.0f), small, choose(is_nan(x), x, large));
}

inline Lanes softplus(Lanes x) {
  return larger(spread(0.0f), x) + logarithm_of_one_more(exponential(spread(0.0f) - absolute(x)));
}

// x * tanh(log(1 + e^x)) = x * n / (n + 2) with n = e^x * (e^x + 2).
inline Lanes mish(Lanes x) {
  const Lanes e = exponential(smaller(x, spread(20.0f))), n = e * (e + spread(2.0f));
  return choose(spread(20.0f) < x, x, x * (n / (n + spread(2.0f))));
}

inline Lanes gelu(Lanes x) { return spread(0.5f) * x * (spread(1.0f) + error_function(x * spread(0.70710678f))); }
inline Lanes gelu_tanh(Lanes x) {
  const Lanes cube = x * x * x;
  return spread(0.5f) * x * (spread(1.0f) + tangent(spread(0.79788456f) * fma(spread(0.044715f), cube, x)));
}

// Angles are reduced by multiples of pi / 2 in three parts: fused, the first step is exact up to kLargestAngle.

// Sine and cosine of the angle that is left of |x|, and the number of quarters taken off.
struct Angle {
  Lanes sine, cosine, quarters;
};
inline Angle reduced_angle(Lanes x) {
  const Lanes a = absolute(x), k = nearest(a * spread(0.63661977f));
  Lanes r = fma(k, spread(-1.570796371f), a);
  r = fma(k, spread(4.371138829e-8f), r);
  r = fma(k, spread(1.715124510e-15f), r);
  const Lanes s = r * r;
  Lanes p = fma(spread(-1.951083832e-4f), s, spread(8.332131431e-3f));
  p = fma(p, s, spread(-1.666665375e-1f));
  Lanes q = fma(spread(2.443120502e-5f), s, spread(-1.388730598e-3f));
  q = fma(q, s, spread(4.166664556e-2f));
  q = fma(q, s, spread(-0.5f));
  return {fma(p * s, r, r), fma(q, s, spread(1.0f)), k};
}

// Whether a whole number's remainder modulo 2 * half is at least half.
inline Mask upper_half(Lanes k, float half) {
  const Lanes turns = below(k * spread(0.5f / half));
  return spread(half - 0.5f) < fma(turns, spread(-2 * half), k);
}

inline Lanes sine(Lanes x) {
  const Angle a = reduced_angle(x);
  const Lanes y = choose(upper_half(a.quarters, 1), a.cosine, a.sine);
  return choose(upper_half(a.quarters, 2), spread(-1.0f), spread(1.0f)) * with_sign(spread(1.0f), x) * y;
}

inline Lanes cosine(Lanes x) {
  const Angle a = reduced_angle(x);
  const Lanes y = choose(upper_half(a.quarters, 1), a.sine, a.cosine);
  return choose(upper_half(a.quarters + spread(1.0f), 2), spread(-1.0f), spread(1.0f)) * y;
}

inline Lanes tangent_of_angle(Lanes x) {
  const Angle a = reduced_angle(x);
  const Mask odd = upper_half(a.quarters, 1);
  const Lanes y = choose(odd, a.cosine * spread(-1.0f), a.sine) / choose(odd, a.sine, a.cosine);
  return with_sign(spread(1.0f), x) * y;
}

// Reduced by the tangents of pi / 4 and pi / 2 to at most tan(pi / 8).
inline Lanes arc_tangent(Lanes x) {
  const Lanes a = absolute(x), one = spread(1.0f);
  const Mask middle = spread(0.41421356f) < a, high = spread(2.41421356f) < a;
  const Lanes r =
      choose(high, spread(-1.0f), choose(middle, a - one, a)) / choose(high, a, choose(middle, a + one, one));
  const Lanes s = r * r;
  Lanes p = fma(spread(-6.082483009e-2f), s, spread(1.059563681e-1f));
  p = fma(p, s, spread(-1.424380243e-1f));
  p = fma(p, s, spread(1.999848783e-1f));
  p = fma(p, s, spread(-3.333331645e-1f));
  const Lanes rest =
      fma(p * s, r, choose(high, spread(-4.371138829e-8f), choose(middle, spread(-2.185569414e-8f), spread(0))));
  const Lanes base = choose(high, spread(1.570796371f), choose(middle, spread(0.785398185f), spread(0)));
  return with_sign(base + (r + rest), x);
}

// The arc sine of what lies in 0 to 1 / 2 of |x|: |x| itself, or sqrt((1 - |x|) / 2), whose double it is to pi / 2.
inline Lanes small_arc_sine(Lanes a, Mask large) {
  const Lanes z = choose(large, fma(a, spread(-0.5f), spread(0.5f)), a * a), s = choose(large, root(z), a);
  Lanes p = fma(spread(3.757818416e-2f), z, spread(1.439378783e-2f));
  p = fma(p, z, spread(3.181982413e-2f));
  p = fma(p, z, spread(4.451547191e-2f));
  p = fma(p, z, spread(7.500512153e-2f));
  p = fma(p, z, spread(1.666665971e-1f));
  return fma(p * z, s, s);
}

inline Lanes arc_sine(Lanes x) {
  const Lanes a = absolute(x);
  const Mask large = spread(0.5f) < a;
  const Lanes y = small_arc_sine(a, large);
  const Lanes rest = fma(spread(2.0f), y, spread(4.371138829e-8f));
  return with_sign(choose(large, spread(1.570796371f) - rest, y), x);
}

inline Lanes arc_cosine(Lanes x) {
  const Lanes a = absolute(x);
  const Mask large = spread(0.5f) < a;
  const Lanes y = small_arc_sine(a, large), twice = y + y;
  const Lanes far = choose(x < spread(0.0f), spread(3.141592741f) - (twice + spread(8.742277657e-8f)), twice);
  return choose(large, far, spread(1.570796371f) - (with_sign(y, x) + spread(4.371138829e-8f)));
}

// e^a / 2, as a product of roots that do not overflow before it does.
inline Lanes half_exponential(Lanes a) {
  const Lanes e = exponential(a * spread(0.5f));
  return e * spread(0.5f) * e;
}

inline Lanes hyperbolic_sine(Lanes x) {
  const Lanes a = absolute(x), e = half_exponential(a), s = x * x;
  Lanes p = fma(spread(2.037740487e-4f), s, spread(8.330211043e-3f));
  p = fma(p, s, spread(1.666671783e-1f));
  return choose(a < spread(1.0f), fma(p * s, x, x), with_sign(e - spread(0.25f) / e, x));
}

inline Lanes hyperbolic_cosine(Lanes x) {
  const Lanes e = half_exponential(absolute(x));
  return e + spread(0.25f) / e;
}

// log(2 a) for large a, else log(1 + t).
inline Lanes logarithm_of_sum(Lanes a, Lanes t) {
  return choose(spread(1e4f) < a, logarithm(a) + spread(0.69314718f), logarithm_of_one_more(t));
}

inline Lanes inverse_hyperbolic_sine(Lanes x) {
  const Lanes a = absolute(x), s = a * a, one = spread(1.0f);
  return choose(is_nan(x), x, with_sign(logarithm_of_sum(a, a + s / (one + root(s + one))), x));
}

inline Lanes inverse_hyperbolic_cosine(Lanes x) {
  const Lanes t = x - spread(1.0f), y = logarithm_of_sum(x, t + root(fma(t, t, t + t)));
  return choose(x < spread(1.0f), spread(__builtin_nanf("")), choose(is_nan(x), x, y));
}

inline Lanes inverse_hyperbolic_tangent(Lanes x) {
  const Lanes a = absolute(x), one = spread(1.0f);
  const Lanes y = spread(0.5f) * logarithm_of_one_more((a + a) / (one - a));
  const Lanes beyond = choose(a == one, spread(__builtin_inff()), choose(is_nan(x), x, spread(__builtin_nanf(""))));
  return with_sign(choose(a < one, y, beyond), x);
}

// |a|^b as e^(b log |a|), the logarithm and its product as pairs of floats whose sum counts.
inline Lanes power_of_magnitude(Lanes a, Lanes b) {
  const Lanes one = spread(1.0f), zero = spread(0.0f);
  const Mask tiny = a < spread(1.17549435e-38f);
  Lanes exponent;
  Lanes m = split(choose(tiny, a * spread(8388608.0f), a), exponent);
  exponent = choose(tiny, exponent - spread(23.0f), exponent);
  const Mask low = m < spread(0.70710678f);
  exponent = choose(low, exponent - one, exponent);
  m = choose(low, m + m, m);
  // log m = 2 atanh s with s = (m - 1) / (m + 1).
  const Lanes f = m - one, d = m + one, d_rest = m - (d - one);
  const Lanes s = f / d, minus_s = zero - s;
  const Lanes s_rest = fma(minus_s, d_rest, fma(minus_s, d, f)) / d, z = s * s;
  Lanes p = fma(spread(2.358425260e-1f), z, spread(2.853720486e-1f));
  p = fma(p, z, spread(4.000033736e-1f));
  p = fma(p, z, spread(6.666666269e-1f));
  Lanes rest = fma(p * z, s, s_rest + s_rest);
  rest = fma(exponent, spread(-2.12194440e-4f), rest);
  const Lanes whole = exponent * spread(0.693359375f), twice = s + s, sum = whole + twice;
  rest = rest + (twice - (sum - whole));
  Lanes high = sum + rest;
  Lanes lower = rest - (high - sum);
  // Zero and infinity.
  const Mask none = a < spread(1e-45f), endless = spread(3.40282347e38f) < a;
  high = choose(none, spread(-__builtin_inff()), choose(endless, spread(__builtin_inff()), high));
  lower = choose(none, zero, choose(endless, zero, lower));
  const Lanes y = b * high, bounded = larger(smaller(y, spread(89.0f)), spread(-105.0f));
  const Lanes y_rest = fma(b, lower, fma(b, high, zero - y));
  const Lanes n = nearest(bounded * spread(1.44269504f));
  Lanes r = fma(n, spread(-0.693359375f), bounded);
  r = fma(n, spread(2.12194440e-4f), r) + choose(bounded == y, y_rest, zero);
  const Lanes e = fma(exp_tail(r), r * r, r) + one;
  return choose(is_nan(y), y, scaled(e, n));
}

// As C's pow.
inline Lanes power(Lanes x, Lanes b) {
  const Lanes a = absolute(x), one = spread(1.0f), zero = spread(0.0f), half = b * spread(0.5f);
  const Mask whole = nearest(b) == b;
  Lanes y = power_of_magnitude(a, b);
  y = choose(a == one, choose(is_nan(b), b, one), y);
  // Odd exponents keep the sign; those of a fraction have no real power.
  const Lanes negative =
      choose(whole, choose(nearest(half) == half, y, y * spread(-1.0f)),
             choose(zero < a, choose(a < spread(__builtin_inff()), spread(__builtin_nanf("")), y), y));
  y = choose(with_sign(one, x) < zero, negative, y);
  return choose(b == zero, one, choose(x == one, one, choose(is_nan(x), x, y)));
}

// The quotient is never rounded below its integer part, and what is left of a is a multiple of b's last place: exact.
inline Lanes remainder(Lanes x, Lanes b) {
  const Lanes a = absolute(x), d = absolute(b), q = below(a / d), r = fma(spread(0.0f) - q, d, a);
  const Lanes y = choose(r < spread(0.0f), r + d, r);
  return choose(q < spread(4194304.0f), with_sign(y, x), spread(__builtin_nanf("")));
}

inline Lanes clamped(Lanes x, Lanes low, Lanes high) { return smaller(high, larger(low, x)); }

// The switch goes away: f is a constant wherever it is called.
__attribute__((always_inline)) inline Lanes compute(Math f, Lanes x, Lanes a, Lanes b) {
  const Lanes zero = spread(0.0f), one = spread(1.0f);
  switch (f) {
    case Math::Abs:
      return absolute(x);
    case Math::Neg:
      return x * spread(-1.0f);
    case Math::Sign:
      return choose(zero < x, one, choose(x < zero, spread(-1.0f), x));
    case Math::Floor:
      return below(x);
    case Math::Ceil:
      return above(x);
    case Math::Round:
      return nearest(x);
    case Math::Sqrt:
      return root(x);
    case Math::Reciprocal:
      return one / x;
    case Math::Exp:
      return exponential(x);
    case Math::Log:
      return logarithm(x);
    case Math::Sin:
      return sine(x);
    case Math::Cos:
      return cosine(x);
    case Math::Tan:
      return tangent_of_angle(x);
    case Math::Asin:
      return arc_sine(x);
    case Math::Acos:
      return arc_cosine(x);
    case Math::Atan:
      return arc_tangent(x);
    case Math::Sinh:
      return hyperbolic_sine(x);
    case Math::Cosh:
      return hyperbolic_cosine(x);
    case Math::Asinh:
      return inverse_hyperbolic_sine(x);
    case Math::Acosh:
      return inverse_hyperbolic_cosine(x);
    case Math::Atanh:
      return inverse_hyperbolic_tangent(x);
    case Math::Tanh:
      return tangent(x);
    case Math::Erf:
      return error_function(x);
    case Math::Sigmoid:
      return logistic(x);
    case Math::Relu:
      return larger(zero, x);
    case Math::LeakyRelu:
      return choose(x < zero, a * x, x);
    case Math::Elu:
      return choose(x < zero, a * exponential_less_one(smaller(zero, x)), x);
    case Math::Selu:
      return b * choose(x < zero, a * exponential_less_one(smaller(zero, x)), x);
    case Math::Celu:
      return larger(zero, x) + smaller(zero, a * exponential_less_one(x / a));
    case Math::ThresholdedRelu:
      return choose(a < x, x, zero);
    case Math::HardSigmoid:
      return clamped(fma(a, x, b), zero, one);
    case Math::HardSwish:
      return x * clamped(fma(spread(1.0f / 6.0f), x, spread(0.5f)), zero, one);
    case Math::Softplus:
      return softplus(x);
    case Math::Softsign:
      return x / (one + absolute(x));
    case Math::Gelu:
      return gelu(x);
    case Math::GeluTanh:
      return gelu_tanh(x);
    case Math::Mish:
      return mish(x);
    case Math::Swish:
      return x * logistic(a * x);
    case Math::Affine:
      return fma(x, a, b);
    case Math::Clamp:
      return clamped(x, a, b);
    case Math::Count:
      break;
  }
  return x;
}

}  // namespace
}  // namespace openbpu::kernels::cpu
