# Starts GPT-SoVITS's API in its own image; it says what is missing instead of falling back to another model silently.
set -eu
cd /workspace/GPT-SoVITS
for path in s1v3.ckpt v2Pro/s2Gv2ProPlus.pth sv/pretrained_eres2netv2w24s4ep4.ckpt chinese-roberta-wwm-ext-large \
  chinese-hubert-base; do
  if [ ! -e "GPT_SoVITS/pretrained_models/$path" ]; then
    echo "pretrained_models/$path is not on the volume gpt-sovits-weights: see k8s/README.md" >&2
    exit 1
  fi
done
# It writes its configuration anew whenever it loads a model, and fails where it may not.
cp /etc/gpt-sovits/tts_infer.yaml /tmp/tts_infer.yaml
exec /root/conda/bin/python api_v2.py -a 127.0.0.1 -p 9880 -c /tmp/tts_infer.yaml
