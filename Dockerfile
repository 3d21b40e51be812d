# r2cmn with a CPU or a CUDA GPU:  docker build -t r2cmn . && docker run --rm -it -v "$PWD/runs:/runs" r2cmn train run_dir=/runs/first
FROM python:3.12-slim

# METEOR runs on Java; everything else is Python
RUN apt-get update && apt-get install -y --no-install-recommends default-jre-headless && rm -rf /var/lib/apt/lists/*

WORKDIR /r2cmn
COPY . .
# the versions that were tested; without "-c constraints.txt" pip takes the newest that pyproject.toml admits
RUN pip install --no-cache-dir -c constraints.txt ".[results,dicom]"

# drawn phantoms, cached images and features
ENV R2CMN_CACHE=/cache
VOLUME /cache
WORKDIR /runs
ENTRYPOINT ["r2cmn"]
