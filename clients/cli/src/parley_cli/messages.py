"""The few lines that everybody sees, in English and in Chinese (where LC_ALL, LC_MESSAGES or LANG begins with zh)."""

import os

_ENGLISH = {
    "ready": "ready: gateway {gateway}",
    "in_another_terminal": "in another terminal:",
    "stop_with": "Ctrl-C here stops everything; logs are in {logs}",
    "GATEWAY_UNREACHABLE": "no gateway answers at {target}; start one with 'parley up', or set PARLEY_GATEWAY",
    "demo_starting": "starting four processes: gateway, asr, llm, tts",
    "demo_speaking": "speaking a question from a sound file, in real time",
    "demo_done": "the answer is in {file} ({seconds:.0f} s, nothing left this machine)",
    "demo_next": """go on:
    source .venv/bin/activate
    parley up                                   start everything and keep it running
    parley talk                                 with microphone and headset
    parley talk --input q.wav --output a.wav    with sound files
    parley chat                                 by keyboard
    parley chat --persona magic-8-ball "will it rain"
    parley doctor                               what works, and what to do about the rest
    parley up --profile workstation             with Ollama ('ollama pull gemma3' first)
  real speech models: services/asr/README.md, services/tts/README.md""",
}
_CHINESE = {
    "ready": "已就绪：网关 {gateway}",
    "in_another_terminal": "在另一个终端里：",
    "stop_with": "在此按 Ctrl-C 停止全部进程；日志在 {logs}",
    "GATEWAY_UNREACHABLE": "{target} 没有网关应答；请用 'parley up' 启动，或设置 PARLEY_GATEWAY",
    "demo_starting": "正在启动四个进程：gateway、asr、llm、tts",
    "demo_speaking": "正在按实时速度播放一个声音文件里的问题",
    "demo_done": "回答已写入 {file}（{seconds:.0f} 秒，没有任何数据离开本机）",
    "demo_next": """接下来：
    source .venv/bin/activate
    parley up                                   启动全部进程并保持运行
    parley talk                                 用麦克风和耳机交谈
    parley talk --input q.wav --output a.wav    用声音文件交谈
    parley chat                                 用键盘交谈
    parley chat --persona magic-8-ball "will it rain"
    parley doctor                               检查哪些可用，其余该怎么办
    parley up --profile workstation             使用 Ollama（先运行 'ollama pull gemma3'）
  真正的语音模型：services/asr/README.md、services/tts/README.md""",
}


def message(key: str, **values: object) -> str:
    """A line in the language of the environment. KeyError for a key that is not one."""
    return (_CHINESE if _is_chinese() else _ENGLISH)[key].format(**values)


def _is_chinese() -> bool:
    # The first that is set decides, as POSIX has it.
    locale = next(filter(None, map(os.environ.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return locale.lower().startswith("zh")
