//! Linear attention as its equation reads: the oracle that the chunked form is tested against.

use super::LinearAttention;
use tch::Tensor;

/// As [`LinearAttention::run`], token by token. Slow.
pub fn linear_attention(attention: &LinearAttention) -> (Tensor, Tensor) {
    let wide = |tensor: &Tensor| tensor.to_kind(attention.initial_state.kind());
    let mut state = attention.initial_state.shallow_clone(); // (batch, heads, d_key, d_value)
    let mut outputs = Vec::new();
    for t in 0..attention.v.size()[2] {
        let at = |tensor: &Tensor| wide(&tensor.select(2, t));
        if let Some(log_decay) = attention.log_decay {
            state = state * at(log_decay).exp().unsqueeze(-1).unsqueeze(-1);
        }
        state = state + at(attention.k).unsqueeze(-1) * at(attention.v).unsqueeze(-2);
        let product = &state * at(attention.q).unsqueeze(-1);
        outputs.push(product.sum_dim_intlist(-2, false, None::<tch::Kind>));
    }
    (Tensor::stack(&outputs, 2).to_kind(attention.v.kind()), state)
}
