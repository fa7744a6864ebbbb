"""Every question that is asked of AWS before the first effect, and the Plan that comes out of the answers.

All problems are told at once, as far as one does not hide another.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from sc import s3_settings
from sc.errors import InputError
from sc.fleets import Launch
from sc.fleets.bootstrap import JobFacts, user_data
from sc.fleets.ec2_aws import Aws, AwsRefused, Call
from sc.fleets.ec2_names import PROFILE, owner_to_tag
from sc.fleets.ec2_places import find_place
from sc.fleets.ec2_requests import Image, Plan
from sc.fleets.proxies import machine_proxies, proxy_problems
from sc.model import GpuNeeds, Recipe
from sc.storage.places import Bucket, resolve

_PLAIN_IMAGE = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{}"
_GPU_IMAGE = (
    "/aws/service/deeplearning/ami/{}/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id"
)
_DEFAULT_DISK_GIB = 30
_BEFORE_TURING = re.compile(r"(?:Tesla |GRID )?[KMPV]\d+\w*")
"""Kepler, Maxwell, Pascal and Volta, as EC2 calls them: K80 (p2), M60 (g3), V100 (p3)."""
_PASSED_ON = ("AWS_ENDPOINT_URL", "SC_SFS_ROOT")


def check(aws: Aws, launch: Launch, environment: Mapping[str, str]) -> Plan:
    """Ask, and decide. Raises InputError for what the user wrote, AwsRefused for what AWS does not let them do."""
    recipe = launch.recipe
    problems = fips_problems(aws) + tag_problems(recipe.tags)
    problems += proxy_problems(recipe.environment_variables)
    if not launch.program:
        problems.append(
            "Machines on EC2 run the one file sc.pyz, and this is not it: "
            "make it with ./build.sh, or download it, and start the job with that."
        )
    place = resolve(launch.job_url, environment)
    if not isinstance(place, Bucket):
        raise InputError(
            *problems,
            f"Machines on EC2 cannot reach {launch.job_url}: "
            "let remote_output_path be an s3:// place.",
        )
    caller = aws.send(Call("sts", "get_caller_identity", {}))
    owner, account = owner_to_tag(str(caller["Arn"])), str(caller["Account"])
    s3_region = bucket_region(aws, place)
    profile = recipe.instance_profile or PROFILE
    problems += profile_problems(aws, profile)
    types = describe_types(aws, recipe)
    problems += gpu_problems(types, launch.gpus)
    problems += driver_problems(types, recipe)
    architecture = common_architecture(types)
    image = find_image(aws, recipe, architecture, needs_gpu_image(types))
    problems += image_problems(image, recipe, architecture)
    where = find_place(aws, recipe, account)
    if recipe.key_name:
        aws.send(Call("ec2", "describe_key_pairs", {"KeyNames": [recipe.key_name]}))
    if problems:
        raise InputError(*problems)
    text = user_data(job_facts(aws, launch, place, s3_region, environment))
    marks = (launch.nonce, owner)
    return Plan(launch.job_url, recipe, launch.machines, image, where, profile, text, *marks)


def job_facts(
    aws: Aws, launch: Launch, place: Bucket, s3_region: str, environment: Mapping[str, str]
) -> JobFacts:
    """What the machines are told. Of this process's environment only where servers are, if that is unusual."""
    passed_on = {
        name: value for name, value in environment.items() if name.startswith(_PASSED_ON) and value
    }
    s3 = s3_settings.settings(s3_settings.of_environment(launch.environment))
    endpoint, bucket = courier_address(aws.endpoint("s3", s3_region), place.name)
    return JobFacts(
        job_url=launch.job_url,
        bucket=bucket,
        key=place.key,
        s3_endpoint=endpoint,
        s3_region=s3_region,
        autoscaling_endpoint=aws.endpoint("autoscaling"),
        region=aws.region,
        sha256=launch.program_sha256,
        # The machines' region last: that of this laptop is another thing.
        environment={
            **passed_on,
            **launch.environment,
            **machine_proxies(launch.recipe.environment_variables),
            "AWS_DEFAULT_REGION": aws.region,
            "AWS_REGION": aws.region,
        },
        s3_headers=s3.of_all(),
        s3_new_headers=s3.of_new_objects(),
    )


def courier_address(endpoint: str, bucket: str) -> tuple[str, str]:
    """Where the courier asks, and what stands before its keys. Access points are found by their host's name only:
    docs.aws.amazon.com/AmazonS3/latest/userguide/access-points-naming.html
    """
    scheme, _, host = endpoint.partition("://")
    if bucket.endswith("-s3alias") and host.endswith(("amazonaws.com", "amazonaws.com.cn")):
        return f"{scheme}://{bucket}.{host}", ""
    return endpoint, bucket


def fips_problems(aws: Aws) -> list[str]:
    """docs.aws.amazon.com/sdkref/latest/guide/feature-endpoints.html"""
    if not aws.uses_fips:
        return []
    sentence = (
        "FIPS endpoints are asked for (AWS_USE_FIPS_ENDPOINT, or use_fips_endpoint in the AWS configuration), and "
        "machines that sc starts would ask others. Where that is allowed, set AWS_USE_FIPS_ENDPOINT=false for this "
        "command; else use machines of your own: `instance_type: local`, or `sc work` on each."
    )
    return [sentence]


def tag_problems(tags: Mapping[str, str]) -> list[str]:
    """docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Tags.html#tag-restrictions"""
    problems = [
        f"The tag '{key}' cannot be set: a key has 1 to 128 characters and does not begin with 'aws:', "
        "a value has at most 256."
        for key, value in tags.items()
        if not 1 <= len(key) <= 128 or len(value) > 256 or key.lower().startswith("aws:")
    ]
    if len(tags) > 45:
        problems.append(f"There are {len(tags)} tags; 45 are possible beside those of sc.")
    return problems


def bucket_region(aws: Aws, place: Bucket) -> str:
    """The region of a bucket that exists and may be listed, at least below this place.

    Who may list only a prefix may not ask for the bucket itself; where it is stands in that refusal, too.
    docs.aws.amazon.com/AmazonS3/latest/API/API_HeadBucket.html
    """
    bucket = place.name
    try:
        answer = aws.send(Call("s3", "head_bucket", {"Bucket": bucket}))
    except AwsRefused as error:
        if error.code in ("404", "NoSuchBucket"):
            raise InputError(
                f"There is no bucket '{bucket}'. Make it with `aws s3 mb s3://{bucket}`."
            ) from error
        if error.code != "403" or not place.key:
            raise
        below = {"Bucket": bucket, "Prefix": f"{place.key}/", "MaxKeys": 1}
        aws.send(Call("s3", "list_objects_v2", below))
        return error.bucket_region or aws.region
    return str(answer.get("BucketRegion") or aws.region)


def profile_problems(aws: Aws, name: str) -> list[str]:
    try:
        answer = aws.send(Call("iam", "get_instance_profile", {"InstanceProfileName": name}))
    except AwsRefused as error:
        if error.code != "NoSuchEntity":
            raise
        how = "Run `sc setup` once" if name == PROFILE else f"Run `sc setup --profile-name {name}`"
        return [
            f"There is no instance profile '{name}'. {how}, or name another as `instance_profile`."
        ]
    if not answer["InstanceProfile"]["Roles"]:
        return [f"The instance profile '{name}' has no role. Run `sc setup --profile-name {name}`."]
    return []


def describe_types(aws: Aws, recipe: Recipe) -> list[dict[str, Any]]:
    """What EC2 tells of the recipe's types. Raises InputError for those that the region does not offer."""
    kinds = list(recipe.instance_types)
    asked = [{"Name": "instance-type", "Values": kinds}]
    found = list(
        aws.pages(Call("ec2", "describe_instance_types", {"Filters": asked}), "InstanceTypes")
    )
    offered = {str(one["InstanceType"]) for one in found}
    problems = [
        f"{aws.region} offers no instance type '{kind}'. `sc options` lists those that it has."
        for kind in kinds
        if kind not in offered
    ]
    if recipe.use_spot_instance:
        problems += [
            f"There is no spot market for '{one['InstanceType']}': leave out use_spot_instance, or take another type."
            for one in found
            if "spot" not in one.get("SupportedUsageClasses", ["spot"])
        ]
    if problems:
        raise InputError(*problems)
    return found


def common_architecture(types: Sequence[Mapping[str, Any]]) -> str:
    """`x86_64` or `arm64`. Raises InputError if the types share none, since one image must serve all."""
    having = {
        str(one["InstanceType"]): [
            name
            for name in one["ProcessorInfo"]["SupportedArchitectures"]
            if name in ("x86_64", "arm64")
        ]
        for one in types
    }
    for name in ("x86_64", "arm64"):
        if all(name in names for names in having.values()):
            return name
    told = ", ".join(
        f"{kind} is {' or '.join(names) or 'neither'}" for kind, names in having.items()
    )
    raise InputError(
        f"The instance types have no architecture in common, and one image must serve all: {told}."
    )


def needs_gpu_image(types: Sequence[Mapping[str, Any]]) -> bool:
    """Whether every type has NVIDIA GPUs; the image with their driver would be waste on others."""
    return all(
        any(gpu.get("Manufacturer") == "NVIDIA" for gpu in one.get("GpuInfo", {}).get("Gpus", []))
        for one in types
    )


def gpu_problems(types: Sequence[Mapping[str, Any]], needs: GpuNeeds) -> list[str]:
    """Of the types that have fewer GPUs than one run asks for."""
    counts = {
        str(one["InstanceType"]): sum(
            gpu.get("Count", 0) for gpu in one.get("GpuInfo", {}).get("Gpus", [])
        )
        for one in types
    }
    refusals = [needs.refusal("the batch", count, kind) for kind, count in counts.items()]
    return [refusal for refusal in refusals if refusal]


def driver_problems(types: Sequence[Mapping[str, Any]], recipe: Recipe) -> list[str]:
    """Of GPUs that the driver of the default image does not know: those before Turing.

    http.download.nvidia.com/XFree86/Linux-x86_64/560.28.03/README/kernel_open.html ("The open kernel modules cannot
    support GPUs before Turing"); docs.aws.amazon.com/dlami/latest/devguide has the types in its release notes.
    """
    if recipe.image is not None or not needs_gpu_image(types):
        return []
    old = {
        str(one["InstanceType"]): str(gpu.get("Name", ""))
        for one in types
        for gpu in one["GpuInfo"]["Gpus"]
        if _BEFORE_TURING.fullmatch(str(gpu.get("Name", "")))
    }
    return [
        f"{kind} has GPUs ({name}) that need NVIDIA's proprietary driver, which the image that sc takes does not have: "
        "set `image` to one that has it (docs.aws.amazon.com/dlami/latest/devguide lists the 'Proprietary Nvidia "
        "Driver' images), or take a type from g4dn or p4d on."
        for kind, name in old.items()
    ]


def image_parameter(recipe: Recipe, architecture: str, gpu: bool) -> Optional[str]:
    """The SSM parameter that names the image, or None where the recipe names the image itself."""
    if recipe.image is None:
        return (_GPU_IMAGE if gpu else _PLAIN_IMAGE).format(architecture)
    if recipe.image.startswith("ami-"):
        return None
    path = (
        recipe.image[len("resolve:ssm:") :]
        if recipe.image.startswith("resolve:ssm:")
        else recipe.image
    )
    if path.startswith("/"):
        return path
    raise InputError(
        f"The image '{recipe.image}' is neither the id of an image (ami-…) nor a path of an SSM parameter (/…)."
    )


def find_image(aws: Aws, recipe: Recipe, architecture: str, gpu: bool) -> Image:
    parameter, image_id = image_parameter(recipe, architecture, gpu), recipe.image
    if parameter is not None:
        try:
            answer = aws.send(Call("ssm", "get_parameter", {"Name": parameter}))
        except AwsRefused as error:
            if error.code != "ParameterNotFound":
                raise
            raise InputError(
                f"There is no SSM parameter '{parameter}' in {aws.region}. Name an image as `image: ami-…`."
            ) from error
        image_id = str(answer["Parameter"]["Value"])
    try:
        images = aws.send(Call("ec2", "describe_images", {"ImageIds": [image_id]}))["Images"]
    except AwsRefused as error:
        if not error.code.startswith("InvalidAMIID"):
            raise
        images = []
    if not images:
        raise InputError(f"There is no image '{image_id}' in {aws.region} that you may use.")
    return read_image(images[0])


def read_image(described: Mapping[str, Any]) -> Image:
    root = str(described.get("RootDeviceName") or "/dev/xvda")
    sizes = [
        int(mapping["Ebs"].get("VolumeSize", 0))
        for mapping in described.get("BlockDeviceMappings", [])
        if mapping.get("DeviceName") == root and "Ebs" in mapping
    ]
    smallest = max(sizes, default=0)
    return Image(
        str(described["ImageId"]),
        str(described.get("Architecture", "")),
        root,
        max(smallest, _DEFAULT_DISK_GIB),
        smallest,
        str(described.get("Platform", "")).lower() == "windows",
    )


def image_problems(image: Image, recipe: Recipe, architecture: str) -> list[str]:
    problems = []
    if image.is_windows:
        problems.append(f"The image {image.id} is Windows, and sc needs Linux.")
    if image.architecture and image.architecture != architecture:
        problems.append(
            f"The image {image.id} is for {image.architecture}, but "
            f"{', '.join(recipe.instance_types)} need {architecture}."
        )
    if recipe.disk_space and recipe.disk_space < image.smallest_gib:
        problems.append(
            f"disk_space is {recipe.disk_space} GiB, but the image {image.id} alone takes {image.smallest_gib}."
        )
    return problems
