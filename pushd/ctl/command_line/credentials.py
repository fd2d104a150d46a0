"""The commands for tokens and signed URLs."""

from pushd.ctl.command_line.command import Commands, add_command
from pushd.ctl.command_line.explain import add_explain_command
from pushd.ctl.command_line.signing import add_sign_options
from pushd.ctl.token_issue import add_issue_command
from pushd.ctl.tokens import add_token_commands


def add_credential_commands(commands: Commands) -> None:
    """Add `token`, with its own commands, and `sign`."""
    token = add_command(
        commands,
        "token",
        None,
        "add, list and remove static tokens in the file of the daemon; issue and explain tokens",
        "pushctl token add phone --sub alice --subscribe 'users/{sub}/**' --publish chat/42 --file tokens.toml",
        "pushctl token list --file tokens.toml",
        "pushctl token remove phone --file tokens.toml && systemctl reload pushd",
        "pushctl token issue --help",
        "pushctl token explain --help",
    )
    token_commands = add_token_commands(token)
    add_issue_command(token_commands)
    add_explain_command(token_commands)
    signing = add_command(
        commands,
        "sign",
        "sign:sign_url",
        "print a signed URL, which allows one request without a token",
        "pushctl sign https://push.example.org/sse/news --key web=web.key --expires 5m --until 2h",
        "pushctl sign /pub/chat/42 --method POST --key web --key-file web.key --sub alice",
    )
    add_sign_options(signing)
