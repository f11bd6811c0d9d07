"""boto3 for the tests: one operation per call, its answer as JSON on the output."""

import hashlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

s3 = boto3.client(
    "s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1",
    aws_access_key_id=os.environ["S3_ACCESS"], aws_secret_access_key=os.environ["S3_SECRET"],
    config=Config(
        s3={"addressing_style": "path"}, max_pool_connections=16,
        request_checksum_calculation="when_required", response_checksum_validation="when_required",
    ),
)


def make(bucket):
    s3.create_bucket(Bucket=bucket)


def put(bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=sys.stdin.buffer.read())


def put_all(bucket):
    contents = json.load(sys.stdin)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda item: s3.put_object(Bucket=bucket, Key=item[0], Body=item[1].encode()), contents.items()))


def fill(bucket, prefix, count):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: s3.put_object(Bucket=bucket, Key=f"{prefix}{n:06}", Body=b""), range(int(count))))


def get(bucket, key):
    found = s3.get_object(Bucket=bucket, Key=key)
    hash, size = hashlib.sha256(), 0
    for piece in found["Body"].iter_chunks(1 << 20):
        hash.update(piece)
        size += len(piece)
    metadata = {name.lower(): value for name, value in found["Metadata"].items()}
    return {"size": size, "sha256": hash.hexdigest(), "metadata": metadata}


def keys(bucket):
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sorted(item["Key"] for page in pages for item in page.get("Contents", []))


def digests(bucket):
    with ThreadPoolExecutor(16) as pool:
        return dict(pool.map(lambda key: (key, get(bucket, key)["sha256"]), keys(bucket)))


def uploads(bucket):
    # One that has no parts takes no room: nobody can know of an upload whose begin was never answered.
    found = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    parts = lambda upload: s3.list_parts(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]).get("Parts")
    return [upload["Key"] for upload in found if parts(upload)]


verbs = {
    "make": make, "put": put, "put-all": put_all, "fill": fill, "get": get, "list": keys, "digests": digests,
    "uploads": uploads,
}
json.dump(verbs[sys.argv[1]](*sys.argv[2:]), sys.stdout)
