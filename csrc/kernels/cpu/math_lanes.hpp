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

inline Lanes clamped(Lanes x, Lanes low, Lanes high) { return smaller(high, larger(low, x)); }

inline Lanes compute(Math f, Lanes x, Lanes a, Lanes b) {
  const Lanes zero = spread(0.0f), one = spread(1.0f);
  switch (f) {
    case Math::Abs:
      return absolute(x);
    case Math::Neg:
      return x * spread(-1.0f);
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
