# docker build -t vitcli .; docker run --rm -v "$PWD:/work" --user "$(id -u):$(id -g)" vitcli train
# With GPUs: --gpus all. PyTorch brings its own CUDA libraries, so a slim base is enough.
FROM python:3.12-slim
# g++ compiles training steps on a CPU.
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN pip install --no-cache-dir --constraint /src/constraints.txt "/src[data]" && rm -rf /src
ENV HOME=/tmp
WORKDIR /work
ENTRYPOINT ["vitcli"]
