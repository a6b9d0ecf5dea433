"""A node with the security plugin: TLS by an authority of its own, users, bearer tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

import trustme

from node.home import secured_home
from node.maven import Unavailable
from node.ml_home import ML_SETTINGS, secured_ml_home
from node.process import LocalNode

__all__ = ["PASSWORD", "SecuredNode"]

PASSWORD = "Correct-Horse-7-Battery"
"""Of all users: ``admin``, ``reader`` who may search everything, ``nobody`` without any right, and one for each role
that docs/in_cluster.md gives: ``tower_deployer``, ``text_searcher``, ``text_writer``."""

_HASH = "$2y$08$mh4DhOnMHe5OIa1ZmDzqPO5GA01YVk00ISgurntJhRDABFcR0sX1O"
_SIGNING_KEY = b"a secret that only this test's tokens are signed with, long enough for HS512 to be content with"
_PATIENCE = 300.0
_DOCUMENT = Path(__file__).parents[2] / "docs" / "in_cluster.md"
_SETTINGS = {
    "discovery.type": "single-node",
    "plugins.security.ssl.transport.pemcert_filepath": "certs/node.pem",
    "plugins.security.ssl.transport.pemkey_filepath": "certs/node.key",
    "plugins.security.ssl.transport.pemtrustedcas_filepath": "certs/ca.pem",
    "plugins.security.ssl.transport.enforce_hostname_verification": "false",
    "plugins.security.ssl.http.enabled": "true",
    "plugins.security.ssl.http.clientauth_mode": "OPTIONAL",
    "plugins.security.ssl.http.pemcert_filepath": "certs/node.pem",
    "plugins.security.ssl.http.pemkey_filepath": "certs/node.key",
    "plugins.security.ssl.http.pemtrustedcas_filepath": "certs/ca.pem",
    "plugins.security.allow_default_init_securityindex": "true",
    "plugins.security.authcz.admin_dn": '["CN=security-admin"]',
}
_USERS = f"""
_meta: {{type: internalusers, config_version: 2}}
admin: {{hash: "{_HASH}", backend_roles: [admin]}}
reader: {{hash: "{_HASH}", backend_roles: [searchers]}}
nobody: {{hash: "{_HASH}"}}
tower_deployer: {{hash: "{_HASH}", backend_roles: [tower_deployer]}}
text_searcher: {{hash: "{_HASH}", backend_roles: [text_searcher]}}
text_writer: {{hash: "{_HASH}", backend_roles: [text_writer]}}
"""
# What docs/opensearch.md says that searching needs.
_ROLES = """
_meta: {type: roles, config_version: 2}
searcher:
  cluster_permissions: [cluster_monitor, cluster_composite_ops_ro]
  index_permissions:
    - index_patterns: ["*"]
      allowed_actions:
        [read, "indices:monitor/settings/get", "indices:admin/mappings/get", "indices:admin/aliases/get"]
"""
_ROLES_MAPPING = """
_meta: {type: rolesmapping, config_version: 2}
all_access: {backend_roles: [admin], users: [certified]}
searcher: {backend_roles: [searchers]}
tower_deployer: {backend_roles: [tower_deployer]}
text_searcher: {backend_roles: [text_searcher]}
text_writer: {backend_roles: [text_writer]}
"""
_CONFIG = f"""
_meta: {{type: config, config_version: 2}}
config:
  dynamic:
    authc:
      token:
        {{http_enabled: true, order: 0, http_authenticator: {{type: jwt, challenge: false, config: {{
          signing_key: "{base64.b64encode(_SIGNING_KEY).decode()}", roles_key: roles, subject_key: sub}}}},
          authentication_backend: {{type: noop}}}}
      certificate:
        {{http_enabled: true, order: 1, http_authenticator: {{type: clientcert, challenge: false, config: {{
          username_attribute: cn}}}}, authentication_backend: {{type: noop}}}}
      basic:
        {{http_enabled: true, transport_enabled: true, order: 2, http_authenticator: {{type: basic, challenge: true}},
          authentication_backend: {{type: intern}}}}
"""


class SecuredNode:
    """A running node; wait for it with :meth:`wait`.

    :ivar ca: the authority that signed its certificate, which is for localhost and 127.0.0.1.
    :param ml: with ml-commons too.
    :raises Unavailable: if it can't be built.
    """

    def __init__(self, *, port: int | None = None, ml: bool = False) -> None:
        self.ca = trustme.CA()
        certificate = self.ca.issue_cert("localhost", "127.0.0.1", common_name="node")
        files = {
            "certs/ca.pem": self.ca.cert_pem.bytes(),
            "certs/node.pem": b"".join(part.bytes() for part in certificate.cert_chain_pems),
            "certs/node.key": certificate.private_key_pem.bytes(),
            "opensearch-security/internal_users.yml": _USERS.encode(),
            "opensearch-security/roles.yml": (_ROLES + _documented_roles()).encode(),
            "opensearch-security/roles_mapping.yml": _ROLES_MAPPING.encode(),
            "opensearch-security/config.yml": _CONFIG.encode(),
        }
        home, settings = (secured_ml_home(), {**_SETTINGS, **ML_SETTINGS}) if ml else (secured_home(), _SETTINGS)
        self._node = LocalNode(port=port, settings=settings, files=files, home=home, wait=False)

    @property
    def port(self) -> int:
        return self._node.port

    @property
    def location(self) -> str:
        """Where its indexes are, without an index's name."""
        return f"opensearchs://127.0.0.1:{self.port}"

    def wait(self) -> None:
        """Wait until it takes the right password.

        :raises Unavailable: if it ends, or takes too long.
        """
        trust = ssl.create_default_context(cadata=self.ca.cert_pem.bytes().decode())
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}/_cluster/health?wait_for_status=yellow")
        request.add_header("authorization", "Basic " + base64.b64encode(f"admin:{PASSWORD}".encode()).decode())
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until:
            self._node.check_alive()
            try:
                with urllib.request.urlopen(request, timeout=5, context=trust):
                    return
            except OSError:
                time.sleep(0.2)
        raise Unavailable(f"the secured node was not ready within {_PATIENCE:.0f} s")

    def token(self, user: str, role: str) -> str:
        """Return a token that the node takes for an hour."""
        claims = {"sub": user, "roles": role, "exp": int(time.time()) + 3_600}
        parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims)]
        signed = hmac.digest(_SIGNING_KEY, ".".join(parts).encode(), hashlib.sha512)
        return ".".join([*parts, _encoded(signed)])

    def write_ca(self, file: Path) -> Path:
        """Write the authority's certificate to a file."""
        self.ca.cert_pem.write_to_path(str(file))
        return file

    def stop(self) -> None:
        """End the process and remove its data."""
        self._node.stop()


def _documented_roles() -> str:
    """Return the roles as operators are told them, so that no others are tested."""
    (block,) = re.findall(r"```yaml\n(tower_deployer:.*?)```", _DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    return str(block)


def _encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()
